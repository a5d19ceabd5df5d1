"""Spans of every path against gold, for one set of texts: rows of SPANS."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle.measured import Ratio, resampled_ratios
from vialign.disentangle.quality import count_units
from vialign.disentangle.readings import Readings
from vialign.disentangle.structure import group_tokens
from vialign.disentangle.text import Path, TextDisentangler
from vialign.disentangle.types import ATTRIBUTE, ENTITY, NONE, TokenStructure
from vialign.tables.language import SPANS, UNIT_KINDS

SINGLE: tuple[Path, ...] = ("main", "fallback")
PATHS: tuple[Path, ...] = (*SINGLE, "mixed", "asked")


@torch.no_grad()
def span_rows(
    text: TextDisentangler,
    readings: Readings,
    *,
    trained_on: str,
    domain: str,
    typos: float,
    seed: int,
    brackets: TokenStructure | None = None,
) -> pd.DataFrame:
    """Precision, recall and F1 of every path, by kind and over all kinds; rows of SPANS.

    A unit is right when its kind and all its tokens are. With `brackets` (gold noun phrases) also those of whole noun
    phrases, which are right when both ends are. Texts without a gold unit are left out. Intervals are 95 % bootstrap
    intervals over texts, the margin's a paired one. Raises ValueError when no text has a gold unit.
    """
    mask, truth = readings.tokens.mask, readings.truth
    known = (truth.kind != NONE).any(dim=1)
    if not bool(known.any()):
        raise ValueError(f"{domain}: no text has a gold unit")
    main = text.read(readings.tokens.states, mask).distributions
    about = {
        "trained_on": trained_on,
        "domain": domain,
        "typos": typos,
        "count": int(known.sum()),
        "cut": int(readings.tokens.cut[known].sum()),
        "trusted": float(text.trusted(main, mask)[known].double().mean()),
    }
    counts: dict[str, dict[str, np.ndarray]] = {}
    for path in PATHS:
        found = text.decide(main, mask, readings.parsed, path)
        units = count_units(truth, found)[known, :, :3].numpy()
        counts[path] = {kind: units[:, number] for number, kind in enumerate(UNIT_KINDS)} | {"all": units.sum(axis=1)}
        if brackets is not None:
            counts[path]["noun phrase"] = count_noun_phrases(brackets, found)[known].numpy()
    rows = [row | about for row in _rows(counts, seed)]
    return SPANS.check(pd.DataFrame(rows)[list(SPANS.columns)])


def _rows(counts: Mapping[str, Mapping[str, np.ndarray]], seed: int) -> list[dict[str, object]]:
    """One row a path and kind, from (text, 3) counts of right, found and gold units."""
    names = [(path, kind) for path, kinds in counts.items() for kind in kinds if kinds[kind][:, 2].any()]
    ratios: list[Ratio] = [
        (2 * counts[path][kind][:, 0], counts[path][kind][:, 1:].sum(axis=1)) for path, kind in names
    ]
    draws = dict(zip(names, np.nan_to_num(resampled_ratios(ratios, seed)).T, strict=True))
    rows = []
    for path, kind in names:
        right, found, true = counts[path][kind].sum(axis=0)
        low, high = np.quantile(draws[path, kind], (0.025, 0.975))
        row = {"path": path, "kind": kind, "precision": right / found if found else np.nan, "recall": right / true}
        row |= {"f1": 2 * right / (found + true), "low": low, "high": high}
        row |= dict.fromkeys(("margin", "margin_low", "margin_high"), np.nan)
        if path not in SINGLE:
            best = max(_f1(counts[other][kind]) for other in SINGLE)
            ends = draws[path, kind] - np.maximum.reduce([draws[other, kind] for other in SINGLE])
            low, high = np.quantile(ends, (0.025, 0.975))
            row |= {"margin": row["f1"] - best, "margin_low": low, "margin_high": high}
        rows.append(row)
    return rows


def _f1(counts: np.ndarray) -> float:
    right, found, true = counts.sum(axis=0)
    return float(2 * right / (found + true))


def count_noun_phrases(truth: TokenStructure, found: TokenStructure) -> Float[Tensor, "text 3"]:
    """For every text: noun phrases with the same first and last token, those found, and those in truth."""
    there, here = noun_phrase_ends(truth), noun_phrase_ends(found)
    return torch.stack([ends.sum(dim=(1, 2)) for ends in (there & here, here, there)], dim=1).double()


def noun_phrase_ends(structure: TokenStructure) -> Bool[Tensor, "text token token"]:
    """Whether a noun phrase reaches from the token of the row to that of the column.

    That is an entity with the attributes inside it and those that stand directly before its first token.
    """
    owner = group_tokens(structure.kind, structure.begin)
    length = owner.shape[1]
    place = torch.arange(length)
    entity = (owner == place) & (structure.kind == ENTITY)
    members = owner[:, None, :] == place[:, None]
    last = torch.where(members, place, -1).amax(dim=2)
    # The last token before each one that is no attribute; what follows it belongs to the phrase.
    solid = torch.where(structure.kind == ATTRIBUTE, -1, place).cummax(dim=1).values
    before = torch.nn.functional.pad(solid, (1, 0), value=-1)[:, :length]
    text, first = entity.nonzero(as_tuple=True)
    ends = torch.zeros(len(owner), length, length, dtype=torch.bool)
    ends[text, before[text, first] + 1, last[text, first]] = True
    return ends
