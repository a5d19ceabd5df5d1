"""What a signal adds to others: the best linear combination with it against the best one without it, held out by image.

A signal can be far above chance and yet say nothing that its parts do not say already. So both combinations are fitted
on the couples of some images and judged on those of the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vialign.config.signal import SignalConfig
from vialign.random import generator
from vialign.signal.validation.diagnosis import Contrast
from vialign.signal.validation.resampling import image_weights, interval, resampled_mean


class Added(NamedTuple):
    """What a signal adds to a combination of others."""

    difference: float
    """AUC of the combination with it minus AUC of that without it."""
    low: float
    high: float
    """Ends of the 95 % interval of the difference over images."""
    without: float
    """AUC of the combination without it."""


def added_discrimination(found: Contrast, base: Sequence[str], signal: str, config: SignalConfig, seed: int) -> Added:
    """What `signal` adds to `base` in telling captions from what was made of them; paired by resample of the images.

    `found` must be paired. The combination is a logistic regression on the differences of each couple, so its AUC is
    the share of couples in the right order. Predictions are cross-fitted by image and held fixed in the resamples.
    """
    if not found.paired:
        raise ValueError("what a signal adds is measured on couples, not on random captions")
    fold = generator(seed, "combination folds").permutation(found.images) % min(config.folds, found.images)
    of_pair = fold[found.misaligned_images]
    without, with_it = (
        _ordered(_differences(found, names), of_pair, config.regularisation) for names in (base, (*base, signal))
    )
    weights = image_weights(found.images, config.bootstrap, generator(seed, "combination bootstrap"))
    resampled = resampled_mean(with_it - without, found.misaligned_images, weights)
    return Added(float((with_it - without).mean()), *interval(resampled), float(without.mean()))


def _differences(found: Contrast, signals: Sequence[str]) -> Float[np.ndarray, "pair signal"]:
    """Caption minus negative, of each signal, in units of its own size."""
    values = np.stack([np.subtract(*found.values(name)) for name in signals], axis=1)
    size = np.sqrt((values**2).mean(axis=0))
    return values / np.where(size > 0, size, 1.0)


def _ordered(
    differences: Float[np.ndarray, "pair signal"], fold: Int[np.ndarray, "pair"], regularisation: float
) -> Float[np.ndarray, "pair"]:
    """1 for a couple that the combination fitted on the other folds puts in the right order, 0.5 for a tie, else 0."""
    from sklearn.linear_model import LogisticRegression

    ordered = np.full(len(fold), 0.5)
    for number in np.unique(fold):
        own, rest = fold == number, differences[fold != number]
        if not len(rest):
            continue
        model = LogisticRegression(C=regularisation, fit_intercept=False)
        model.fit(np.concatenate([rest, -rest]), np.repeat([1, 0], len(rest)))
        ordered[own] = (np.sign(differences[own] @ model.coef_[0]) + 1) / 2
    return ordered
