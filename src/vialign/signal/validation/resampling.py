"""Bootstrap over images, discrimination under resampling, permutation within images, and Holm's correction."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from vialign.files.mapped import gathered

_DRAWN = 1 << 20
"""Numbers drawn at once."""
_CHUNK = 1 << 23
"""Numbers held at once while resamples of pairs are evaluated."""


def image_weights(images: int, repeats: int, rng: np.random.Generator) -> Float[np.ndarray, "repeat image"]:
    """How often each bootstrap resample of `images` images contains each of them."""
    return image_counts(images, repeats, rng).astype(np.float64)


def image_counts(images: int, repeats: int, rng: np.random.Generator) -> Int[np.ndarray, "repeat image"]:
    """The same as whole numbers (int32), in a temporary file where they are many (`vialign.files.mapped`)."""
    shares, step = np.full(images, 1 / images), max(1, _DRAWN // images)
    draws = (rng.multinomial(images, shares, min(step, repeats - start)) for start in range(0, repeats, step))
    blocks = ({"counts": torch.from_numpy(part.astype(np.int32))} for part in draws)
    return gathered(blocks, repeats)["counts"].numpy()


def interval(values: Float[np.ndarray, "repeat"], level: float = 0.05) -> tuple[float, float]:
    """Percentile interval with coverage 1 - level; resamples without a value (NaN) do not count."""
    low, high = np.nanquantile(values, [level / 2, 1 - level / 2])
    return float(low), float(high)


def resampled_mean(
    values: Float[np.ndarray, "item"],
    images: Int[np.ndarray, "item"],
    weights: Float[np.ndarray, "repeat image"],
) -> Float[np.ndarray, "repeat"]:
    """Mean of the items in each resample; NaN where a resample holds none of their images."""
    total = np.bincount(images, values, minlength=weights.shape[1])
    count = np.bincount(images, minlength=weights.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ total) / (weights @ count)


def wins(better: Float[np.ndarray, "item"], worse: Float[np.ndarray, "item"]) -> Float[np.ndarray, "item"]:
    """1 where `better` is larger, 0.5 where both are equal, 0 elsewhere."""
    return (np.sign(better - worse) + 1) / 2


def auc(positive: Float[np.ndarray, "positive"], negative: Float[np.ndarray, "negative"]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties count half."""
    ranked = np.sort(negative)
    below, upto = np.searchsorted(ranked, positive, "left"), np.searchsorted(ranked, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))


def resampled_auc(
    positive: Float[np.ndarray, "positive"],
    positive_images: Int[np.ndarray, "positive"],
    negative: Float[np.ndarray, "negative"],
    negative_images: Int[np.ndarray, "negative"],
    weights: Float[np.ndarray, "repeat image"],
) -> Float[np.ndarray, "repeat"]:
    """`auc` in each resample of images, every pair weighing as often as its image was drawn."""
    order = np.argsort(negative, kind="stable")
    ranked, ranked_images = negative[order], negative_images[order]
    below, upto = np.searchsorted(ranked, positive, "left"), np.searchsorted(ranked, positive, "right")
    results = []
    step = max(1, _CHUNK // (len(positive) + len(negative) + 1))
    for start in range(0, len(weights), step):
        part = weights[start : start + step]
        cumulative = np.zeros((len(part), len(negative) + 1))
        np.cumsum(part[:, ranked_images], axis=1, out=cumulative[:, 1:])
        of_positive = part[:, positive_images]
        half = (cumulative[:, below] + cumulative[:, upto]) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            results.append((of_positive * half).sum(axis=1) / (of_positive.sum(axis=1) * cumulative[:, -1]))
    return np.concatenate(results)


def sign_flip_p(difference: Float[np.ndarray, "image"], repeats: int, rng: np.random.Generator) -> float:
    """Two-sided p of a sum of paired differences, one an image, under flips of their signs.

    (1 + how many flips reach the observed size) / (1 + repeats), which is exact for every number of repeats.
    """
    observed = abs(difference.sum())
    signs = rng.integers(0, 2, size=(repeats, len(difference)), dtype=np.int8) * 2.0 - 1.0
    reached = np.abs(signs @ difference) >= observed - 1e-9
    return float((1 + reached.sum()) / (1 + repeats))


def permuted_labels(
    positive: Bool[np.ndarray, "pair"],
    images: Int[np.ndarray, "pair"],
    repeats: int,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "repeat pair"]:
    """Labels permuted within each image, so that pairs of one image need not be independent."""
    by_image = np.argsort(images, kind="stable")
    permuted = np.empty((repeats, len(positive)), dtype=bool)
    step = max(1, _CHUNK // len(positive))
    for start in range(0, repeats, step):
        part = permuted[start : start + step]
        # Whole numbers name the image, fractions order its pairs at random.
        part[:, by_image] = positive[np.argsort(images + rng.random(part.shape), axis=1)]
    return permuted


def rank_sum_p(
    scores: Float[np.ndarray, "pair"],
    positive: Bool[np.ndarray, "pair"],
    images: Int[np.ndarray, "pair"],
    permuted: Bool[np.ndarray, "repeat pair"],
) -> float:
    """Two-sided p of the AUC (as rank sum, ties at their mean rank) under labels permuted within images."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    # Expected rank sum of the positives when labels are exchangeable within each image.
    share = np.bincount(images, positive) / np.maximum(np.bincount(images), 1)
    expected = float(share[images] @ ranks)
    reached = np.abs(permuted @ ranks - expected) >= abs(ranks[positive].sum() - expected) - 1e-9
    return float((1 + reached.sum()) / (1 + len(permuted)))


def holm(p_values: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """p-values after Holm's step-down correction for the family (Holm 1979)."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
