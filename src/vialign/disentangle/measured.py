"""Measures of held-out items, with intervals that resample items."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from vialign.random import generator
from vialign.tables.language import QUALITY

RESAMPLES = 1000
_CELLS = 4_000_000
"""Largest number of bootstrap weights held at once."""

Ratio = tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]]
"""What a measure sums over items, and what it divides that by."""


@dataclass(frozen=True)
class Row:
    """One measure of one subject."""

    subject: str
    measure: str
    value: float
    count: int
    """Items that it rests on."""
    items: Ratio | None
    """Numerator and denominator of every item; None where a measure is no mean over items."""


class Measured:
    """Collects rows of QUALITY; an item is an image or a text, and intervals resample items."""

    def __init__(self, domain: str, seed: int) -> None:
        self.domain, self.seed = domain, seed
        self.rows: list[Row] = []

    def add(self, subject: str, measure: str, values: Tensor, weights: Tensor) -> None:
        """Weighted mean over all values of all items; both tensors are (item, value)."""
        weights = weights.double()
        self.ratio(subject, measure, (values * weights).sum(dim=1).numpy(), weights.sum(dim=1).numpy())

    def ratio(self, subject: str, measure: str, above: np.ndarray, below: np.ndarray) -> None:
        """Sum of `above` over sum of `below`, both one value an item; left out where nothing lies below."""
        counted = int((below > 0).sum())
        if counted:
            self.rows.append(Row(subject, measure, float(above.sum() / below.sum()), counted, (above, below)))

    def value(self, subject: str, measure: str, value: float, count: int) -> None:
        """A number without an interval."""
        self.rows.append(Row(subject, measure, value, count, None))

    def frame(self) -> pd.DataFrame:
        """All rows with their 95 % bootstrap intervals, checked against QUALITY."""
        if not self.rows:
            return QUALITY.empty()
        ends = intervals([row.items for row in self.rows], self.seed)
        rows = [
            {"subject": row.subject, "domain": self.domain, "measure": row.measure, "value": row.value}
            | {"low": low, "high": high, "count": row.count}
            for row, (low, high) in zip(self.rows, ends, strict=True)
        ]
        return QUALITY.check(pd.DataFrame(rows, columns=list(QUALITY.columns)))


def intervals(ratios: list[Ratio | None], seed: int) -> list[tuple[float, float]]:
    """95 % percentile intervals of ratios of sums over resampled items; nan for None."""
    groups: dict[int, dict[int, Ratio]] = {}
    for place, ratio in enumerate(ratios):
        if ratio is not None:
            groups.setdefault(len(ratio[0]), {})[place] = ratio
    found = [(float("nan"), float("nan"))] * len(ratios)
    for group in groups.values():
        ends = np.nanquantile(resampled_ratios(list(group.values()), seed), [0.025, 0.975], axis=0)
        for place, (low, high) in zip(group, ends.T, strict=True):
            found[place] = float(low), float(high)
    return found


def resampled_ratios(ratios: list[Ratio], seed: int, resamples: int = RESAMPLES) -> Float[np.ndarray, "resample ratio"]:
    """Ratios of sums over items drawn with replacement (Efron 1979); nan where nothing lies below in a resample.

    All ratios must have the same items. They share the resamples, which depend on `seed` and the number of items only:
    a difference of two columns is a paired bootstrap of the difference.
    """
    above, below = (np.stack([ratio[side] for ratio in ratios], axis=1).astype(np.float64) for side in (0, 1))
    items = len(above)
    rng = generator(seed, "resampled items", items)
    parts = []
    chunk = max(1, _CELLS // items)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        draws = rng.integers(items, size=(rows, items)) + items * np.arange(rows)[:, None]
        weights = np.bincount(draws.ravel(), minlength=rows * items).reshape(rows, items).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((weights @ above) / (weights @ below))
    return np.concatenate(parts)
