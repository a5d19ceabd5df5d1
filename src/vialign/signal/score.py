"""The consistency score as pure functions of features: similarity, consistency, agreement, match entropy.

`prototypes` and `phrases` are unit vectors of the joint space. `weight` sums to one over the phrases of a caption and
is zero where a caption has fewer phrases than the batch's longest; such padding never changes a result. Prototypes
whose `mass` is zero are absent: no phrase matches them.
"""

import math

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

ABSENT = -1e9
"""Stands for minus infinity where a logarithm is masked: its exponential is exactly 0, and no gradient becomes NaN."""


def local_similarity(
    prototypes: Float[Tensor, "batch prototype dim"],
    phrases: Float[Tensor, "batch phrase dim"],
    weight: Float[Tensor, "batch phrase"],
    mass: Float[Tensor, "batch prototype"] | None = None,
) -> Float[Tensor, "batch"]:
    """S_local: mean best match of each caption's phrases among its image's prototypes; in [-1, 1] (proposal 4.2)."""
    matches = einsum(phrases, prototypes, "b m d, b k d -> b m k")
    if mass is not None:
        matches = matches.masked_fill(mass[:, None, :] == 0, -1.0)
    return (weight * matches.amax(dim=-1)).sum(dim=-1)


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
    """C times the mean of both calibrated similarities: 1 only where both are 1, 0 where both are 0; in [0, 1]."""
    return consistency(s_global, s_local) * (s_global + s_local) / 2


def all_pairs_local(
    prototypes: Float[Tensor, "image prototype dim"],
    phrases: Float[Tensor, "text phrase dim"],
    weight: Float[Tensor, "text phrase"],
    mass: Float[Tensor, "image prototype"] | None = None,
    elements: int = 1 << 24,
) -> Float[Tensor, "image text"]:
    """S_local of every image with every caption, in blocks of at most `elements` phrase-prototype matches."""
    images, count, _ = prototypes.shape
    texts, units, _ = phrases.shape
    rows = max(1, min(images, elements // (count * units)))
    columns = max(1, min(texts, elements // (count * units * rows)))
    lines = []
    for row in range(0, images, rows):
        block = prototypes[row : row + rows]
        absent = None if mass is None else mass[row : row + rows, :, None, None] == 0
        line = []
        for column in range(0, texts, columns):
            matches = einsum(block, phrases[column : column + columns], "i k d, t m d -> i k t m")
            if absent is not None:
                matches = matches.masked_fill(absent, -1.0)
            line.append((matches.amax(dim=1) * weight[column : column + columns]).sum(dim=-1))
        lines.append(torch.cat(line, dim=1))
    return torch.cat(lines, dim=0)
