"""Paired statistics on outcomes: cluster bootstrap, McNemar's test, Holm's correction, detectable effects.

All methods share the same resamples, so a difference of two bootstrap columns is a paired bootstrap of the
difference. The first level resamples images with all their items (five captions of one image are not five independent
items); the second level reweights training seeds.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from vialign.progress import track_starts
from vialign.random import generator

_CELLS = 4_000_000
"""Largest number of bootstrap weights held at once."""


def replicate_means(
    sums: Float[np.ndarray, "cluster column tag"],
    counts: Float[np.ndarray, "cluster tag"],
    replicates: int,
    seed: int,
) -> Float[np.ndarray, "replicate column tag"]:
    """Bootstrap means: each replicate draws as many clusters as there are, with replacement (Efron 1979).

    `sums` holds each cluster's summed outcome and `counts` its number of items, by column (a method, seed and
    measure) and tag; a mean is the ratio of resampled sums and counts. A tag that a replicate does not draw is nan
    there. The same seed and number of clusters give the same resamples.
    """
    clusters, columns, tags = sums.shape
    random = generator(seed, "bootstrap", clusters)
    chunk = max(1, _CELLS // clusters)
    # float32 halves the time of the products; its error, about 1e-6 of a mean, is far below the bootstrap's own.
    flat = sums.reshape(clusters, -1).astype(np.float32)
    counts = counts.astype(np.float32)
    means = np.empty((replicates, columns, tags))
    for start in track_starts(replicates, chunk, "bootstrap"):
        rows = min(chunk, replicates - start)
        draws = random.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
        weights = np.bincount(draws.ravel(), minlength=rows * clusters).reshape(rows, clusters).astype(np.float32)
        total = (weights @ counts)[:, None, :]
        with np.errstate(invalid="ignore"):
            means[start : start + rows] = (weights @ flat).reshape(rows, columns, tags) / total
    return means


def seed_weights(seeds: Sequence[int], replicates: int, seed: int) -> Float[np.ndarray, "replicate seed"]:
    """Second level of the bootstrap: random weights of training seeds that sum to one.

    Gaussian multipliers scaled so that the weighted mean of S values varies by s²/S with the unbiased s²; drawing two
    or three seeds with replacement would lose the factor (S - 1)/S. A weight belongs to the number of its seed, so
    methods trained with the same seeds stay paired. One seed has weight one: its spread cannot be known.

    How often the 95 % interval over items and seeds holds the truth (simulated in the tests): 93 to 95 % with four or
    more seeds that differ about as much as items allow, 91 % with three and 87 % with two, whose spread so few values
    cannot tell; 99 % where seeds hardly differ, as the noise of the items then counts twice.
    """
    count = len(seeds)
    noise = np.stack([generator(seed, "seed weight", number).standard_normal(replicates) for number in seeds], axis=1)
    if count == 1:
        return np.ones((replicates, 1))
    return (1 + np.sqrt(count / (count - 1)) * (noise - noise.mean(axis=1, keepdims=True))) / count


def interval(
    replicates: Float[np.ndarray, "replicate *rest"], level: float
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Percentile interval with coverage 1 - level."""
    low, high = np.quantile(replicates, [level / 2, 1 - level / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def wilson_interval(successes: float, trials: float, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    z = stats.norm.ppf(1 - level / 2)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def holm(p_values: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """Adjusted p-values that control the family-wise error (Holm 1979)."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted
