"""How texts match the prototypes of images, pair by pair: what the failure rules measure."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.disentangle.types import ATTRIBUTE, ENTITY
from vialign.methods.objective import SplitData
from vialign.progress import track
from vialign.signal.score import phrase_matches, relation_queries

_BLOCK = 2048
"""Pairs whose prototypes and phrases are gathered at once."""


@dataclass(frozen=True)
class PairEvidence:
    """Matches of aligned lists of texts and images."""

    local: Float[np.ndarray, "pair"]
    """Mean best match of the phrases, by weight, each by its feature alone."""
    worst: Float[np.ndarray, "pair"]
    """Best match of the weakest concept; nan for a text without phrases."""
    worst_unit: Int[np.ndarray, "pair"]
    """Which phrase that is; -1 for a text without phrases."""
    match: Float[np.ndarray, "pair phrase"]
    """Best match of every phrase, of a relation with the geometry of its arguments; nan where there is no phrase."""
    prototype: Int[np.ndarray, "pair phrase"]
    """The prototype of that match; of a relation, that of its subject."""


def measure_pairs(data: SplitData, texts: Int[Tensor, "pair"], images: Int[Tensor, "pair"]) -> PairEvidence:
    """Match the phrases of texts with the prototypes of images, aligned lists of positions, in bounded memory.

    Concepts are entity and attribute phrases; a text that has neither is judged by all its phrases, since relations
    are not things that a prototype can show.
    """
    singles, matches, places = [], [], []
    blocks = list(zip(texts.split(_BLOCK), images.split(_BLOCK), strict=True)) if len(texts) else []
    for text, image in track(blocks, "failures: matches of phrases and prototypes"):
        phrases, prototypes = data.phrases.index(text), data.prototypes.index(image)
        best, _ = phrase_matches(prototypes.features, phrases.features, prototypes.mass)
        present = phrases.weight > 0
        concept = present & ((phrases.kind == ENTITY) | (phrases.kind == ATTRIBUTE))
        concept = torch.where(concept.any(dim=1, keepdim=True), concept, present)
        worst, unit = best.masked_fill(~concept, torch.inf).min(dim=1)
        some = present.any(dim=1)
        singles.append(
            torch.stack(
                [
                    (phrases.weight * best).sum(dim=1).double(),
                    torch.where(some, worst, torch.nan).double(),
                    torch.where(some, unit, -1).double(),
                ]
            )
        )
        match, place = phrase_matches(
            prototypes.features, phrases.features, prototypes.mass, prototypes.moments, relation_queries(phrases)
        )
        matches.append(torch.where(present, match, torch.nan).double())
        places.append(place)
    slots = data.phrases.kind.shape[1]
    local, worst, unit = (torch.cat(singles, dim=1) if singles else torch.empty(3, 0)).numpy()
    return PairEvidence(
        local,
        worst,
        unit.astype(np.int64),
        (torch.cat(matches) if matches else torch.empty(0, slots, dtype=torch.float64)).numpy(),
        (torch.cat(places) if places else torch.empty(0, slots, dtype=torch.int64)).numpy(),
    )
