"""How good phrase units are, on held-out texts: every path against gold units."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.disentangle.measured import Measured
from vialign.disentangle.structure import align_units, group_tokens
from vialign.disentangle.text import Path, TextDisentangler
from vialign.disentangle.types import ATTRIBUTE, NONE, RELATION, TokenStructure
from vialign.progress import track_starts
from vialign.tables.language import UNIT_KINDS

if TYPE_CHECKING:
    from vialign.features import TextFeatures


def text_quality(
    text: TextDisentangler,
    features: "TextFeatures",
    gold: pd.DataFrame,
    units: pd.DataFrame,
    domain: str,
    seed: int,
    batch: int = 256,
) -> Measured:
    """Span precision, recall and F1 of the main path, the parser's fallback and their mix against gold units.

    `gold` and `units` (UNITS) are the gold and the parser's reading. A unit is right when its kind and all its tokens
    are; attributes count as units of their own, so an entity is compared without them. `arguments` is the share of gold
    attributes and relations whose span is right and whose arguments are headed by the right tokens. Texts without a
    gold unit are left out. `.frame()` gives rows of QUALITY; intervals are 95 % bootstrap intervals over texts.
    """
    paths: tuple[Path, ...] = ("main", "fallback", "mixed")
    counts: dict[str, list[Tensor]] = {path: [] for path in paths}
    for start in track_starts(len(features.ids), batch, "text quality"):
        stop = min(start + batch, len(features.ids))
        states, mask, offsets = features.block(start, stop)
        truth = align_units(gold, features.ids[start:stop], offsets, mask)
        known = (truth.kind != NONE).any(dim=1)
        parsed = align_units(units, features.ids[start:stop], offsets, mask)
        with torch.no_grad():
            main = text.read(states, mask).distributions
            for path in paths:
                counts[path].append(count_units(truth, text.decide(main, mask, parsed, path))[known])
    measured = Measured(domain, seed)
    for path in paths:
        _add_span_rows(measured, f"span path {path}", torch.cat(counts[path]).numpy())
    return measured


def count_units(truth: TokenStructure, found: TokenStructure) -> Float[Tensor, "text kind 4"]:
    """For every text and kind: units that agree, units found, units in truth, and agreeing arguments."""
    spans = [_spans(structure) for structure in (truth, found)]
    (true_first, true_members), (found_first, found_members) = spans
    right = true_first & found_first & (truth.kind == found.kind) & (true_members == found_members).all(dim=-1)
    argued = right & (truth.subject == found.subject) & (truth.object == found.object)
    kinds = range(1, len(UNIT_KINDS) + 1)
    columns = [
        torch.stack([(flags & (structure.kind == kind)).sum(dim=1) for kind in kinds], dim=1)
        for flags, structure in ((right, truth), (found_first, found), (true_first, truth), (argued, truth))
    ]
    return torch.stack(columns, dim=-1).double()


def _spans(structure: TokenStructure) -> tuple[Bool[Tensor, "text token"], Bool[Tensor, "text token token"]]:
    owner = group_tokens(structure.kind, structure.begin)
    place = torch.arange(owner.shape[1])
    return owner == place, owner[:, None, :] == place[:, None]


def _add_span_rows(measured: Measured, subject: str, counts: np.ndarray) -> None:
    """Precision, recall and F1 by kind and over all kinds, and argument accuracy."""
    groups = {name: counts[:, [number]].sum(axis=1) for number, name in enumerate(UNIT_KINDS)}
    groups["all"] = counts.sum(axis=1)
    for name, group in groups.items():
        right, found, true = group[:, 0], group[:, 1], group[:, 2]
        measured.ratio(subject, f"precision {name}", right, found)
        measured.ratio(subject, f"recall {name}", right, true)
        measured.ratio(subject, f"f1 {name}", 2 * right, found + true)
    related = counts[:, [ATTRIBUTE - 1, RELATION - 1]].sum(axis=1)
    measured.ratio(subject, "arguments", related[:, 3], related[:, 2])
