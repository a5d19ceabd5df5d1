"""How well a score tells wrong answers from right ones: AUROC, and risk against coverage; both resampled by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

COVERAGES = tuple(np.round(np.arange(1, 21) / 20, 2).tolist())
"""Shares of answers, the most trusted first, at which the risk is read."""
_CHUNK = 1 << 17
"""Numbers held at once while resamples are evaluated: what a processor's own memory holds is faster than more."""


class Sample(NamedTuple):
    """Answers and the resamples of their images, which all predictors share, so that differences are paired."""

    wrong: Bool[np.ndarray, "query"]
    images: Int[np.ndarray, "query"]
    weights: Int[np.ndarray, "repeat image"]
    """How often each resample holds each image."""


@dataclass(frozen=True)
class Measured:
    """One score of doubt on the answers, and on every resample of their images."""

    auroc: float
    """Of predicting *wrong*; nan where all answers are right or all are wrong."""
    aurocs: Float[np.ndarray, "repeat"]
    aurc: float
    """Area under the risk-coverage curve; the share of wrong answers where the score says nothing."""
    aurcs: Float[np.ndarray, "repeat"]
    risk: Float[np.ndarray, "coverage"]
    """At `COVERAGES`."""
    risks: Float[np.ndarray, "repeat coverage"]


def measure(score: Float[np.ndarray, "query"], sample: Sample) -> Measured:
    """All measures of a score, larger the more an answer is in doubt."""
    wrong, images, weights = sample
    step = max(1, _CHUNK // len(score))
    chunks = np.split(weights, range(step, len(weights), step))
    whole = _counted(score, wrong, images, np.ones((1, weights.shape[1]), np.int32))
    parts = [_counted(score, wrong, images, chunk) for chunk in chunks]
    return Measured(
        float(whole.auroc()[0]),
        np.concatenate([part.auroc() for part in parts]),
        float(whole.area()[0]),
        np.concatenate([part.area() for part in parts]),
        whole.risk(COVERAGES)[0],
        np.concatenate([part.risk(COVERAGES) for part in parts]),
    )


def expected_calibration_error(
    claimed: Float[np.ndarray, "query"], wrong: Bool[np.ndarray, "query"], bins: int = 15
) -> float:
    """How far claimed probabilities of being wrong lie from what is wrong (Guo et al. 2017, arXiv:1706.04599).

    Queries fall into `bins` of equal width by what was claimed; the mean over queries of the distance, in their bin,
    between the mean claim and the share of wrong answers. Raises ValueError for a claim outside [0, 1].
    """
    if not ((claimed >= 0) & (claimed <= 1)).all():
        raise ValueError("a claimed probability lies outside [0, 1]")
    place = np.minimum((claimed * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, claimed - wrong, minlength=bins)
    return float(np.abs(gaps).sum() / len(claimed))


def risk_coverage(
    score: Float[np.ndarray, "query"], wrong: Bool[np.ndarray, "query"], coverages: Sequence[float] = COVERAGES
) -> Float[np.ndarray, "coverage"]:
    """Share of wrong answers among those that are kept, at each share of kept answers; the least doubted stay."""
    return _counted(score, wrong, np.zeros(len(score), np.int64), np.ones((1, 1), np.int32)).risk(coverages)[0]


def area_under_risk(score: Float[np.ndarray, "query"], wrong: Bool[np.ndarray, "query"]) -> float:
    """AURC: the mean risk over all numbers of kept answers (Geifman et al. 2019, arXiv:1805.08206).

    Answers with the same score come in every order alike: what is given is the mean over these orders.
    """
    return float(_counted(score, wrong, np.zeros(len(score), np.int64), np.ones((1, 1), np.int32)).area()[0])


def paired_p(differences: Float[np.ndarray, "repeat"]) -> float:
    """Two-sided p of a difference from its paired resamples: twice the smaller side's share, never below 2 / repeats.

    1 where no resample has a value.
    """
    known = differences[np.isfinite(differences)]
    if not len(known):
        return 1.0
    side = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + side) / (1 + len(known)))


class _Counted(NamedTuple):
    """Answers of every resample in groups of tied scores, the least doubted first."""

    size: Int[np.ndarray, "repeat group"]
    bad: Int[np.ndarray, "repeat group"]
    """Wrong ones among them."""
    kept: Int[np.ndarray, "repeat group"]
    """Answers of this group and all before."""
    lost: Int[np.ndarray, "repeat group"]
    """Wrong ones among those."""

    def auroc(self) -> Float[np.ndarray, "repeat"]:
        """How often a wrong answer is doubted more than a right one, ties half; nan without one of both kinds."""
        right = self.kept - self.lost
        # Twice the right ones before, those of the same group counting once.
        before = 2 * right - (self.size - self.bad)
        total = self.lost[:, -1].astype(np.float64) * right[:, -1]
        with np.errstate(invalid="ignore"):
            return np.einsum("rg,rg->r", self.bad, before, dtype=np.float64) / (2 * total)

    def area(self) -> Float[np.ndarray, "repeat"]:
        """AURC. Within a group of n tied answers with w wrong ones, the mean risk over their orders after k of them is
        (W + k w / n) / (N + k), N and W being those before; its sum over k is a difference of harmonic numbers.
        """
        before = self.kept - self.size
        rate = self.bad / np.maximum(self.size, 1)
        harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, self.kept[:, -1].max() + 1))]
        steps = harmonic[self.kept] - harmonic[before]
        area = np.einsum("rg,rg->r", self.lost - self.bad - rate * before, steps)
        return (area + self.lost[:, -1]) / self.kept[:, -1]

    def risk(self, coverages: Sequence[float]) -> Float[np.ndarray, "repeat coverage"]:
        """Share of wrong answers among the first, at each share of kept ones: `np.interp` for all resamples at once."""
        at = np.asarray(coverages) * self.kept[:, -1:]
        rows, groups = self.kept.shape
        # Groups that are kept whole, found in one sorted line that holds each resample behind the one before.
        behind = np.arange(rows)[:, None] * (self.kept[:, -1].max() + np.int64(1))
        wanted = np.floor(at).astype(np.int64) + behind
        whole = np.searchsorted((self.kept + behind).ravel(), wanted, side="right") - np.arange(rows)[:, None] * groups
        next_ = np.minimum(whole, groups - 1)
        first, low = (
            np.where(whole > 0, np.take_along_axis(part, np.maximum(whole - 1, 0), axis=1), 0)
            for part in (self.kept, self.lost)
        )
        last, high = (np.take_along_axis(part, next_, axis=1) for part in (self.kept, self.lost))
        return ((high - low) / np.maximum(last - first, 1) * (at - first) + low) / at


def _counted(
    score: Float[np.ndarray, "query"],
    wrong: Bool[np.ndarray, "query"],
    images: Int[np.ndarray, "query"],
    weights: Int[np.ndarray, "repeat image"],
) -> _Counted:
    """The groups of every resample."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    size = weights.astype(np.int32, copy=False)[:, images[order]]
    bad = size * wrong[order]
    if len(starts) < len(order):
        size, bad = (np.add.reduceat(part, starts, axis=1) for part in (size, bad))
    return _Counted(size, bad, np.cumsum(size, axis=1, dtype=np.int32), np.cumsum(bad, axis=1, dtype=np.int32))
