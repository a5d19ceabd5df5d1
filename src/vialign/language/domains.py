"""Sentences with gold syntax from different domains: drawn captions, and the treebanks that a config names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vialign.config.data import LanguageConfig
from vialign.data.scenes.captions import scene_captions
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.treebanks.head_rules import dependencies
from vialign.data.treebanks.penn import Sentence, Tree, parse_tree
from vialign.errors import UserError
from vialign.language.gold import bracket_noun_phrases, sentence_units
from vialign.language.stage import Treebank, read_treebank
from vialign.language.typos import add_typos
from vialign.random import generator
from vialign.tables.data import CAPTIONS, IMAGES

CAPTION_DOMAIN = "captions"
"""Name of the drawn captions; they cost nothing, so every study has them."""


@dataclass(frozen=True)
class GoldTexts:
    """Running texts with their gold units."""

    texts: pd.DataFrame
    """Columns `text_id`, `text`."""
    units: pd.DataFrame
    """UNITS."""
    noun_phrases: pd.DataFrame | None
    """UNITS that are the lowest noun phrases of gold brackets; None for a treebank of dependencies."""


@dataclass(frozen=True)
class Domain:
    """One kind of text; no sentence is in two parts."""

    name: str
    train: Sequence[Sentence]
    """For the parser and the main path."""
    gate: Sequence[Sentence]
    """Unseen by both, for the gate."""
    held_out: Sequence[Sentence]
    """To be judged by."""
    trees: Sequence[Tree]
    """Brackets of the held-out sentences; empty for a treebank of dependencies."""


def read_domains(config: LanguageConfig, seed: int) -> list[Domain]:
    """Drawn captions and every treebank of `config.domains`, with as many sentences as the config states.

    Raises UserError when a folder is missing or a treebank has too few sentences.
    """
    wanted = config.domain_sentences + config.domain_texts
    domains = [_parts(CAPTION_DOMAIN, _drawn_captions(wanted, config.domain_texts, seed), config, seed)]
    for name, source in config.domains.items():
        if name == CAPTION_DOMAIN:
            raise UserError(f"config: `language.domains.{name}`: the name of the drawn captions; choose another one")
        if not Path(source.folder).is_dir():
            raise UserError(f"config: `language.domains.{name}.folder`: {source.folder!r} is no folder; set it")
        settings = LanguageConfig(treebank=source.treebank, folder=source.folder, sentences=wanted)
        bank = read_treebank(settings, CAPTIONS.empty(), IMAGES.empty(), seed)
        domains.append(_parts(name, bank, config, seed))
    return domains


def out_of_domain_texts(
    captions: Sequence[str], config: LanguageConfig, typos: float, seed: int
) -> tuple[list[str], str]:
    """Texts unlike the captions of a run, and what they are: held-out sentences of the first treebank in
    `language.domains`; without one the captions themselves with this share of their words mistyped.

    Raises UserError as `read_domains`.
    """
    if config.domains:
        domain = read_domains(config, seed)[1]
        return [sentence.text for sentence in domain.held_out], f"held-out sentences of {domain.name}"
    random = generator(seed, "out of domain")
    typed = [add_typos(text, typos, random).text for text in captions]
    return typed, f"captions with {100 * typos:g} % of their words mistyped"


def gold_texts(sentences: Sequence[Sentence], trees: Sequence[Tree] = ()) -> GoldTexts:
    """Sentences as running text, with their units and, where `trees` are given, the noun phrases of their brackets."""
    ids = [str(number) for number in range(len(sentences))]
    texts = [sentence.text for sentence in sentences]
    phrases = bracket_noun_phrases(trees, texts, ids) if trees else None
    return GoldTexts(pd.DataFrame({"text_id": ids, "text": texts}), sentence_units(sentences, ids), phrases)


def _parts(name: str, bank: Treebank, config: LanguageConfig, seed: int) -> Domain:
    """Draw the parts of a domain; a sentence of one word has nothing to group and is left out."""
    random = generator(seed, "domain", name)
    known = [sentence for sentence in bank.train if len(sentence.words) > 1]
    order = random.permutation(len(known))
    gate, train = order[: min(config.domain_texts, len(known) // 5)], order[min(config.domain_texts, len(known) // 5) :]
    held = [row for row, sentence in enumerate(bank.held_out) if len(sentence.words) > 1]
    if not len(gate) or not held:
        raise UserError(f"domain {name}: {len(known)} training and {len(held)} held-out sentences; give it more")
    chosen = np.sort(random.permutation(held)[: config.domain_texts])
    return Domain(
        name,
        [known[row] for row in np.sort(train)],
        [known[row] for row in np.sort(gate)],
        [bank.held_out[row] for row in chosen],
        [bank.trees[row] for row in chosen] if bank.trees else [],
    )


def _drawn_captions(train: int, held_out: int, seed: int) -> Treebank:
    """One caption a drawn scene; no held-out caption is a training caption."""

    def draw(part: str, count: int) -> list[Tree]:
        random = generator(seed, "domain captions", part)
        captions = (scene_captions(random, scene) for scene, _ in sample_scenes(random, count))
        return [parse_tree(found[int(random.integers(len(found)))]) for found in captions]

    known = draw("train", train)
    seen = {tuple(tree.words()) for tree in known}
    held = [tree for tree in draw("held out", 2 * held_out) if tuple(tree.words()) not in seen]
    sentences = [[dependencies(tree) for tree in trees] for trees in (known, held)]
    return Treebank(CAPTION_DOMAIN, sentences[0], sentences[1], held, [sentence.text for sentence in sentences[1]])
