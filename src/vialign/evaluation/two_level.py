"""One model for every interval and p-value of compared methods: images and training seeds are both drawn at random.

A value d[image, seed] is a mean plus an effect of the image, one of the seed, and what is left of both together (a
two-way layout with crossed random effects). The variance of its mean comes from three mean squares, the degrees of
freedom of Student's t from Satterthwaite (1946). Items of one image are not independent: a mean over items, or over the
means of tags, is first written as a mean over images of linearised values, so that each image is one row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

Weights = Float[np.ndarray, "_ column"]
"""One row a training seed: the weights of the columns whose sum is the value of that seed."""

Contrast = tuple[Weights, ...]
"""A sum of means over seeds that are drawn independently of each other; paired seeds are one of them."""


def linearised(
    sums: Float[np.ndarray, "image column tag"], counts: Float[np.ndarray, "image tag"]
) -> Float[np.ndarray, "image column"]:
    """Values whose mean over images is the mean over tags of each tag's mean over items, and whose spread is its.

    `sums` holds each image's summed outcomes and `counts` its number of items, by tag; one tag gives the mean over
    items. Each image's value is the mean plus the image's influence on it (the linear term of a ratio of sums). A tag
    without items is an error of the caller: its mean would be nan.
    """
    share = counts.mean(axis=0)
    means = sums.mean(axis=0) / share
    return means.mean(axis=1) + ((sums - means * counts[:, None]) / share).mean(axis=2)


def mean_of(columns: Sequence[int], width: int) -> Contrast:
    """The mean over the seeds of one method, whose columns are given, of `width` columns in all."""
    return (np.eye(width)[list(columns)],)


def difference_of(first: Mapping[int, int], second: Mapping[int, int], width: int) -> Contrast:
    """The mean of one method minus that of another, each given as its column by training seed, of `width` columns.

    Where both have two or more seeds in common, those alone count and are paired. Otherwise the seeds of each are
    drawn for themselves; a method with one seed (the frozen backbone, which has nothing to draw) is taken as it is, so
    the spread of its seeds is not in the error.
    """
    unit = np.eye(width)
    common = sorted(first.keys() & second.keys())
    if len(common) >= 2:
        return (unit[[first[seed] for seed in common]] - unit[[second[seed] for seed in common]],)
    return unit[list(first.values())], -unit[list(second.values())]


@dataclass(frozen=True)
class Estimates:
    """Means and their errors, one entry a contrast. All values are of outcomes in [0, 1]."""

    value: Float[np.ndarray, "contrast"]
    error: Float[np.ndarray, "contrast"]
    """Standard error over images and seeds; that of images alone where there is one seed."""
    df: Float[np.ndarray, "contrast"]
    """Degrees of freedom of its t."""
    item_error: Float[np.ndarray, "contrast"]
    """Standard error if other images were drawn and the seeds were the same."""
    item_df: float
    """Degrees of freedom of the error over images."""
    seed_spread: Float[np.ndarray, "contrast"]
    """Standard deviation over seeds of the value on these images; nan where there is one seed."""
    seeds: Float[np.ndarray, "contrast"]
    """Seeds behind the spread, the fewest of a contrast's groups of two or more; 1 means images alone."""

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Interval with coverage 1 - level over images and seeds."""
        half = stats.t.ppf(1 - level / 2, self.df) * self.error
        return self.value - half, self.value + half

    def item_interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Interval with coverage 1 - level for these very seeds, over images alone."""
        half = stats.t.ppf(1 - level / 2, self.item_df) * self.item_error
        return self.value - half, self.value + half

    @property
    def p_value(self) -> Float[np.ndarray, "contrast"]:
        """Two-sided p-value of a mean of zero."""
        return 2 * stats.t.sf(np.abs(self.value) / self.error, self.df)

    def detectable(self, level: float, power: float = 0.8) -> Float[np.ndarray, "contrast"]:
        """Smallest difference that the two-sided test at `level` finds with this power.

        The sum of two quantiles of t, which is within 2 % of the exact power of the t-test from four degrees of
        freedom on.
        """
        return (stats.t.ppf(1 - level / 2, self.df) + stats.t.ppf(power, self.df)) * self.error

    def detectable_share(self, level: float) -> Float[np.ndarray, "contrast"]:
        """`detectable` of differences of shares; nan above 1, since no two differ by more."""
        smallest = self.detectable(level)
        return np.where(smallest <= 1, smallest, np.nan)


def two_level(values: Float[np.ndarray, "image column"], contrasts: Sequence[Contrast]) -> Estimates:
    """Mean, error and degrees of freedom of every contrast of the columns, a column being a method and a seed.

    With n images and s seeds, Var(mean) = (MS_image + MS_seed - MS_residual) / (n s), in which the part of the seeds,
    MS_seed - MS_residual, is at least zero: the interval is never narrower than that of images alone. An error is
    never below 1/n, what one image that was not drawn could have changed. All contrasts share one matrix of products
    of the columns.
    """
    images = len(values)
    means = values.mean(axis=0)
    centred = values - means
    products = centred.T @ centred
    rows = [_components(means, products, images, contrast) for contrast in contrasts]
    parts = _Components(*np.array(rows, dtype=np.float64).reshape(-1, len(_Components._fields)).T)
    floor, item_df = 1 / images, max(images - 1, 1)
    variance = parts.item + parts.seed
    with np.errstate(invalid="ignore", divide="ignore"):
        df = variance**2 / (parts.item**2 / item_df + parts.doubt)
    # Satterthwaite's rule can fall below the fewest that any mean square has, as one of them is subtracted.
    df = np.maximum(df, np.where(parts.seeds > 1, np.minimum(parts.seeds - 1, item_df), item_df))
    return Estimates(
        value=np.asarray(parts.value),
        error=np.sqrt(np.maximum(variance, floor**2)),
        df=np.where(variance <= floor**2, item_df, df),
        item_error=np.sqrt(np.maximum(parts.item, floor**2)),
        item_df=item_df,
        seed_spread=np.where(parts.seeds > 1, np.sqrt(parts.spread), np.nan),
        seeds=np.asarray(parts.seeds),
    )


class _Components(NamedTuple):
    """What the error of a contrast is made of, one number or one array of them."""

    value: float | np.ndarray
    item: float | np.ndarray
    """Variance of the mean if other images were drawn: MS_image / (n s)."""
    seed: float | np.ndarray
    """What the seeds add to it: (MS_seed - MS_residual) / (n s), at least zero."""
    doubt: float | np.ndarray
    """Squares of both mean squares of the seeds' part, each over its degrees of freedom."""
    spread: float | np.ndarray
    """Variance of the value over seeds."""
    seeds: float | np.ndarray
    """Fewest seeds of a group of two or more; 1 where there is none."""


def _components(
    means: Float[np.ndarray, "column"], products: Float[np.ndarray, "column column"], images: int, contrast: Contrast
) -> _Components:
    """Components of one contrast, from the means of the columns and the products of their deviations."""
    row = np.sum([group.mean(axis=0) for group in contrast], axis=0)
    image_df = max(images - 1, 1)
    item = max(float(row @ products @ row), 0.0) / image_df / images
    seed = doubt = spread = 0.0
    drawn = [group for group in contrast if len(group) > 1]
    for group in drawn:
        seeds = len(group)
        columns = np.flatnonzero(group.any(axis=0))
        weights, gram = group[:, columns], products[np.ix_(columns, columns)]
        centre = weights.mean(axis=0)
        within = float(np.einsum("sk,kl,sl->", weights, gram, weights))
        left_df = image_df * (seeds - 1)
        # Both mean squares over n s, as they enter the variance of the mean.
        left = max(within - seeds * float(centre @ gram @ centre), 0.0) / left_df / (images * seeds)
        variance = float(np.var(group @ means, ddof=1))
        of_seed = variance / seeds
        seed += max(of_seed - left, 0.0)
        doubt += of_seed**2 / (seeds - 1) + left**2 / left_df
        spread += variance
    return _Components(float(row @ means), item, seed, doubt, spread, min(map(len, drawn), default=1))
