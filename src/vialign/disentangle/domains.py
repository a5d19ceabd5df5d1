"""Phrase units across domains: what a parser and a main path of one kind of text are worth on another, and mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from vialign.config.disentangle import TextConfig
from vialign.disentangle.caption_data import CaptionData
from vialign.disentangle.readings import TokenStates, parse_again, read_both, read_states
from vialign.disentangle.span_table import span_rows
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.text_fitting import fit_reader
from vialign.disentangle.types import TokenStructure
from vialign.language.domains import Domain, GoldTexts, gold_texts
from vialign.language.pipeline import train_pipeline
from vialign.language.typos import with_typos
from vialign.progress import track
from vialign.random import generator
from vialign.tables.language import SPANS

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone


@dataclass(frozen=True)
class _HeldOut:
    """Held-out texts of a domain at one rate of typos, as the tower reads them."""

    domain: str
    typos: float
    texts: pd.DataFrame
    gold: pd.DataFrame
    tokens: TokenStates
    brackets: TokenStructure | None


def study_domains(
    domains: Sequence[Domain], backbone: "Backbone", config: TextConfig, *, epochs: int, seed: int
) -> pd.DataFrame:
    """Spans of every path, trained on each domain and judged on every one at every share of typos; rows of SPANS.

    For each domain a parser is trained on its sentences, a main path is fitted to their gold units (no images), and the
    gate is fitted on other sentences of the same domain; nothing looks at another domain. Token states come from the
    frozen tower; a text longer than its context is cut and counted.
    """
    held_out = [part for domain in domains for part in _held_out(domain, backbone, config, seed)]
    frames = []
    for domain in domains:
        nlp = train_pipeline(domain.train, epochs=epochs, seed=seed)
        text = fit_domain(domain, nlp, backbone, config, seed)
        for part in track(held_out, f"judge what {domain.name} taught"):
            readings = parse_again(part.texts, part.gold, part.tokens, nlp)
            frames.append(
                span_rows(
                    text,
                    readings,
                    trained_on=domain.name,
                    domain=part.domain,
                    typos=part.typos,
                    seed=seed,
                    brackets=part.brackets,
                )
            )
    return SPANS.check(pd.concat(frames, ignore_index=True))


def fit_domain(
    domain: Domain, nlp: "Language", backbone: "Backbone", config: TextConfig, seed: int
) -> TextDisentangler:
    """A main path for the sentences of one domain, clean and typed, and its gate."""
    gold = gold_texts(domain.train)
    clean = _target(gold.texts, gold.units, backbone)
    some = gold.texts.iloc[: config.typed_texts]
    typed = _target(*with_typos(some, gold.units, max(config.typos), seed), backbone)
    rates = generator(seed, "gate typos", domain.name).choice(config.typos, len(domain.gate)).tolist()
    unseen = gold_texts(domain.gate)
    gate = read_both(*with_typos(unseen.texts, unseen.units, rates, seed), backbone, nlp)
    text, _ = fit_reader(clean, typed, gate, config, backbone.dimension, seed)
    return text


def _target(texts: pd.DataFrame, units: pd.DataFrame, backbone: "Backbone") -> CaptionData:
    tokens = read_states(backbone, texts["text"].tolist())
    return CaptionData(tokens.states, tokens.mask, tokens.structure(units, texts["text_id"].tolist()))


def _held_out(domain: Domain, backbone: "Backbone", config: TextConfig, seed: int) -> list[_HeldOut]:
    gold = gold_texts(domain.held_out, domain.trees)
    return [_typed(domain.name, gold, rate, backbone, seed) for rate in config.typos]


def _typed(name: str, gold: GoldTexts, rate: float, backbone: "Backbone", seed: int) -> _HeldOut:
    texts, units = with_typos(gold.texts, gold.units, rate, seed)
    tokens = read_states(backbone, texts["text"].tolist())
    brackets = None
    if gold.noun_phrases is not None:
        _, phrases = with_typos(gold.texts, gold.noun_phrases, rate, seed)
        brackets = tokens.structure(phrases, texts["text_id"].tolist())
    return _HeldOut(name, rate, texts, units, tokens, brackets)
