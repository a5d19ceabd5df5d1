"""The language stage as one function: from a treebank to a pipeline and what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.config.data import LanguageConfig
from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import Sentence, Tree, detokenise, parse_tree, read_trees, split_files
from vialign.data.treebanks.universal_dependencies import conllu_files, read_conllu
from vialign.errors import UserError
from vialign.language.pipeline import evaluate_pipeline, train_pipeline
from vialign.language.quality import span_quality
from vialign.language.texts import units_by_text
from vialign.language.units import extract_units
from vialign.random import generator
from vialign.tables.language import QUALITY

if TYPE_CHECKING:
    from spacy.language import Language

HELD_OUT = 1000
"""Held-out sentences that are parsed for the quality table, at most, of each kind of text."""
PREDICATIVE_EVERY = 10
"""One caption tree in so many is also shown to the parser as a statement about its first noun."""


@dataclass(frozen=True)
class Treebank:
    """Sentences to learn from and sentences to be judged by."""

    name: str
    train: Sequence[Sentence]
    held_out: Sequence[Sentence]
    trees: Sequence[Tree]
    """Brackets of the held-out sentences; empty for a treebank of dependencies."""
    texts: Sequence[str]
    """Running text of each tree."""


def train_language(
    config: LanguageConfig, captions: pd.DataFrame, images: pd.DataFrame, seed: int
) -> tuple["Language", pd.DataFrame]:
    """Train the pipeline and measure it on held-out sentences; the second result is a QUALITY frame.

    Judged on the treebank's own held-out part and, where the captions carry gold brackets, on the captions of the
    selection split and (another domain) of `test_domain`. Raises UserError when the treebank is missing or empty.
    """
    treebank = read_treebank(config, captions, images, seed)
    nlp = train_pipeline(treebank.train, epochs=config.epochs, seed=seed)
    judged = [treebank]
    for split in ("selection", "test_domain"):
        gold = caption_treebank(captions, images, split)
        if gold is not None and not (config.treebank == "scenes" and split == "selection"):
            judged.append(gold)
    frames = []
    for bank in judged:
        frames.append(evaluate_pipeline(nlp, bank.held_out, bank.name, seed=seed))
        if bank.trees:
            frames.append(_span_rows(nlp, bank, seed))
    return nlp, QUALITY.check(pd.concat(frames, ignore_index=True))


def _span_rows(nlp: "Language", bank: Treebank, seed: int) -> pd.DataFrame:
    ids = [str(number) for number in range(len(bank.trees))]
    texts = pd.DataFrame({"text_id": ids, "text": list(bank.texts)})
    units, _ = extract_units(texts, nlp)
    trees, plain = dict(zip(ids, bank.trees, strict=True)), dict(zip(ids, bank.texts, strict=True))
    return span_quality(trees, plain, units_by_text(units), bank.name, seed=seed)


def read_treebank(config: LanguageConfig, captions: pd.DataFrame, images: pd.DataFrame, seed: int) -> Treebank:
    """The treebank that the configuration names, with `config.sentences` training sentences drawn from it."""
    if config.treebank == "scenes":
        held = caption_treebank(captions, images, "selection")
        train = _caption_trees(captions, images, "train")
        if held is None or train.empty:
            raise UserError(
                "config: `language.treebank` is `scenes`, but the captions carry no gold trees (splits train and "
                "selection); choose `ptb` or `ud` and set language.folder"
            )
        order = generator(seed, "treebank").permutation(len(train))[: config.sentences]
        trees = [parse_tree(tree) for tree in train["tree"].iloc[sorted(order)]]
        said = [found for tree in trees[::PREDICATIVE_EVERY] if (found := predicative(tree)) is not None]
        return replace(held, train=[dependencies(tree) for tree in (*trees, *said)])
    folder = Path(config.folder or "")
    if config.folder is None or not folder.is_dir():
        raise UserError(f"config: `language.folder`: {config.folder!r} is no folder; set it to the treebank's folder")
    if config.treebank == "ptb":
        train_files, held_files = split_files(folder)
        trees = [tree for file in train_files for tree in read_trees(file)]
        order = generator(seed, "treebank").permutation(len(trees))[: config.sentences]
        held_trees = [tree for file in held_files for tree in read_trees(file)][:HELD_OUT]
        sentences = [dependencies(tree) for tree in held_trees]
        texts = [detokenise(tree.words())[0] for tree in held_trees]
        return Treebank("ptb", [dependencies(trees[i]) for i in sorted(order)], sentences, held_trees, texts)
    known = [sentence for file in conllu_files(folder, "train") for sentence in read_conllu(file)]
    order = generator(seed, "treebank").permutation(len(known))[: config.sentences]
    held_out = [sentence for file in conllu_files(folder, "dev") for sentence in read_conllu(file)][:HELD_OUT]
    return Treebank("ud", [known[i] for i in sorted(order)], held_out, [], [])


def caption_treebank(captions: pd.DataFrame, images: pd.DataFrame, split: str) -> Treebank | None:
    """Captions with gold brackets of a split as held-out sentences; None where there are none."""
    found = _caption_trees(captions, images, split).iloc[:HELD_OUT]
    if found.empty:
        return None
    trees = [parse_tree(tree) for tree in found["tree"]]
    name = f"captions {split}"
    return Treebank(name, [], [dependencies(tree) for tree in trees], trees, found["text"].tolist())


def predicative(tree: Tree) -> Tree | None:
    """`a small red circle ...` as `the circle is red`: a construction of questions that captions never use.

    Made from the first noun phrase with an adjective before its noun; None where there is none.
    """
    if tree.category == "NP" and len(tree.children) > 2:
        adjective, noun = tree.children[-2:]
        if adjective.label == "JJ" and noun.label == "NN":
            subject = Tree("NP", (Tree("DT", word="the"), noun))
            return Tree("S", (subject, Tree("VP", (Tree("VBZ", word="is"), Tree("ADJP", (adjective,))))))
    return next((found for child in tree.children if (found := predicative(child)) is not None), None)


def _caption_trees(captions: pd.DataFrame, images: pd.DataFrame, split: str) -> pd.DataFrame:
    in_split = set(images.loc[images["split"] == split, "image_id"])
    return captions[captions["image_id"].isin(in_split) & captions["tree"].notna()]
