"""Parsed documents with gold dependencies, and one small trained pipeline."""

import itertools

import pytest
import spacy
from spacy.tokens import Doc

from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import parse_tree
from vialign.language.pipeline import train_pipeline

COLOURS = ("red", "blue", "green", "white")
SHAPES = ("star", "circle", "square", "ring")
PHRASES = (
    "(PP (IN above) {})",
    "(PP (IN below) {})",
    "(PP (TO to) (NP (NP (DT the) (NN left)) (PP (IN of) {})))",
    "(ADJP (JJR larger) (PP (IN than) {}))",
)


def noun_phrase(colour: str, shape: str) -> str:
    return f"(NP (DT a) (JJ {colour}) (NN {shape}))"


def caption_trees() -> list[str]:
    """384 bracket strings: four relations, thirty-two pairs, in a sentence, a fragment and a list."""
    found = []
    looks = list(itertools.product(COLOURS, SHAPES))
    for phrase, (place, first) in itertools.product(PHRASES, enumerate(looks)):
        for step in (3, 7):
            one, two = noun_phrase(*first), noun_phrase(*looks[(place + step) % len(looks)])
            found += [
                f"(S {one} (VP (VBZ is) {phrase.format(two)}))",
                f"(NP {one} {phrase.format(two)})",
                f"(NP {one} (CC and) {two})",
            ]
    return found


@pytest.fixture(scope="session")
def gold_doc():
    """A document with the dependencies of a bracket string."""
    vocab = spacy.blank("en").vocab

    def make(brackets: str) -> Doc:
        gold = dependencies(parse_tree(brackets))
        return Doc(vocab, words=gold.words, spaces=gold.spaces, tags=gold.tags, heads=gold.heads, deps=gold.labels)

    return make


@pytest.fixture(scope="session")
def brackets_of_captions():
    return caption_trees()


@pytest.fixture(scope="session")
def sentences(brackets_of_captions):
    return [dependencies(parse_tree(brackets)) for brackets in brackets_of_captions]


@pytest.fixture(scope="session")
def pipeline(sentences):
    return train_pipeline(sentences[::2], epochs=8, seed=1, width=48, depth=2)
