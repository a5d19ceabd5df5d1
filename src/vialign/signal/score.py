"""The consistency score as pure functions of features: similarity, consistency, agreement, match entropy.

`prototypes` and `phrases` are unit vectors of the joint space. `weight` sums to one over the phrases of a caption and
is zero where a caption has fewer phrases than the batch's longest; such padding never changes a result. Prototypes
whose `mass` is zero are absent: no phrase matches them.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from vialign.disentangle.geometry import matched_with_geometry

if TYPE_CHECKING:
    from vialign.disentangle import Phrases

ABSENT = -1e9
"""Stands for minus infinity where a logarithm is masked: its exponential is exactly 0, and no gradient becomes NaN."""


class RelationQueries(NamedTuple):
    """What the relation phrases of each caption ask of their arguments (fields of `Phrases`)."""

    direction: Float[Tensor, "batch phrase 8"]
    subject: Int[Tensor, "batch phrase"]
    object: Int[Tensor, "batch phrase"]


def local_similarity(
    prototypes: Float[Tensor, "batch prototype dim"],
    phrases: Float[Tensor, "batch phrase dim"],
    weight: Float[Tensor, "batch phrase"],
    mass: Float[Tensor, "batch prototype"] | None = None,
    moments: Float[Tensor, "batch prototype 5"] | None = None,
    relations: RelationQueries | None = None,
) -> Float[Tensor, "batch"]:
    """S_local: mean best match of each caption's phrases among its image's prototypes; in [-1, 1].

    The formula stands in docs/method.md#1-the-signal. The matches are those of `phrase_matches`: without `moments` and
    `relations` S_local as it is defined there, with both also by the geometry of what relations are said of.
    """
    return (weight * phrase_matches(prototypes, phrases, mass, moments, relations)[0]).sum(dim=-1)


def phrase_matches(
    prototypes: Float[Tensor, "batch prototype dim"],
    phrases: Float[Tensor, "batch phrase dim"],
    mass: Float[Tensor, "batch prototype"] | None = None,
    moments: Float[Tensor, "batch prototype 5"] | None = None,
    relations: RelationQueries | None = None,
) -> tuple[Float[Tensor, "batch phrase"], Int[Tensor, "batch phrase"]]:
    """Best match of each phrase among its image's prototypes, in [-1, 1], and which prototype that is.

    A prototype is its feature and the moments of its map. With `moments` and `relations`, a relation phrase whose both
    arguments are known is matched with the geometry of the two prototypes that its arguments match best; which concepts
    are there cannot tell such a phrase from its converse. Geometry takes the place of the visual match where the
    relation is spatial and is added to it where not (`matched_with_geometry`). The phrase's prototype is then that of
    its subject.
    """
    matches = einsum(phrases, prototypes, "b m d, b k d -> b m k")
    if mass is not None:
        matches = matches.masked_fill(mass[:, None, :] == 0, -1.0)
    best, place = matches.max(dim=-1)
    if moments is not None and relations is not None:
        places = moments.gather(1, place[..., None].expand(-1, -1, 5))
        subject, object_ = (
            places.gather(1, index.clamp_min(0)[..., None].expand(-1, -1, 5))
            for index in (relations.subject, relations.object)
        )
        told = relations.direction.abs().sum(dim=-1) > 0
        best = matched_with_geometry(best, subject, object_, relations.direction)
        place = torch.where(told, place.gather(1, relations.subject.clamp_min(0)), place)
    return best, place


def match_entropy(
    prototypes: Float[Tensor, "batch prototype dim"],
    phrases: Float[Tensor, "batch phrase dim"],
    weight: Float[Tensor, "batch phrase"],
    temperature: float,
    mass: Float[Tensor, "batch prototype"] | None = None,
) -> Float[Tensor, "batch"]:
    """H_local: entropy of softmax_k(cos(u_m, p_k) / temperature) over log K, averaged over phrases; in [0, 1].

    With a single prototype there is nothing to choose and the entropy is 0.
    """
    count = prototypes.shape[1]
    logits = einsum(phrases, prototypes, "b m d, b k d -> b m k") / temperature
    if mass is not None:
        logits = logits.masked_fill(mass[:, None, :] == 0, ABSENT)
    log_share = logits.log_softmax(dim=-1)
    entropy = -(log_share.exp() * log_share).sum(dim=-1)
    return (weight * entropy).sum(dim=-1) / (math.log(count) if count > 1 else 1.0)


def consistency(
    s_global: Float[Tensor, "*shape"],
    s_local: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """C = 1 - |s_global - s_local|: raw of two cosines (in [-1, 1]), calibrated of two values in [0, 1].

    C measures whether both similarities say the same, not whether they say yes: a pair in which both are low is
    consistent too. `agreement` is the variant without that blind spot.
    """
    return 1.0 - (s_global - s_local).abs()


def agreement(
    s_global: Float[Tensor, "*shape"],
    s_local: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """s_global times s_local of calibrated values in [0, 1]: the chance that two independent votes both say aligned.

    C of two such votes is the chance that they say the same, yes or no; this is its half that says yes. It is never
    above C, and low wherever either similarity is.
    """
    return s_global * s_local


COMBINED: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "consistency": consistency,
    "agreement": agreement,
}
"""What the two calibrated similarities may be combined to, by its column of `SIGNAL_SCORES`; each may be the driver."""


def relation_queries(phrases: "Phrases") -> RelationQueries | None:
    """What the relation phrases ask; None where phrases carry no directions."""
    if phrases.direction is None:
        return None
    return RelationQueries(phrases.direction, phrases.subject, phrases.object)
