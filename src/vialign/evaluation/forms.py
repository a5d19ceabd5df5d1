"""What counts as right in each form of test item, from its scores alone; all inequalities are strict.

| form | images, texts | right when | measure | guessing |
| --- | --- | --- | --- | --- |
| choice | 1, n | the true text beats every wrong one | accuracy | 1/n |
| pairs | 2, 2 | each image prefers its text; each text its image; both | text; image; group | 1/4; 1/4; 1/6 |
| pairs | 2, 2 | the right matching of all beats the other one | match | 1/2 |
| both right | 1, n with r true ones | every true text beats every wrong one | both_right | 1 / (n over r) |
| both right, no image | two true texts, a wrong one | the true ones are closest to each other | text_only | 1/3 |
| image choice | n, 1 | the text prefers its image | image_choice | 1/n |
| statement | 1, 1 | it is called true, or false, by a threshold | statement | 1/2 |
"""

from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int


def winoground_decisions(
    scores: Float[np.ndarray, "item image text"], *, strict: bool = True
) -> dict[str, Bool[np.ndarray, "item"]]:
    """Text, image and group score of every item (Thrush et al. 2022, arXiv:2204.03162, equations 1 to 3), and match.

    scores[n, i, j] is that of image i with caption j; image i and caption i belong together. Text: each image prefers
    its own caption (BiVLC's I2T). Image: each caption prefers its own image (its T2I, and the score of COLA and of
    MMVP-VLM). Group: both. Match (Zhu et al. 2025, arXiv:2510.07632, GroupMatch): the right matching of images with
    captions has a larger sum than the wrong one. It asks one question where group asks four, so it is reached whenever
    group is, and by chance half the time. `strict=False` counts ties as right.
    """
    better = np.greater if strict else np.greater_equal
    right_0, right_1 = scores[:, 0, 0], scores[:, 1, 1]
    wrong_01, wrong_10 = scores[:, 0, 1], scores[:, 1, 0]
    text = better(right_0, wrong_01) & better(right_1, wrong_10)
    image = better(right_0, wrong_10) & better(right_1, wrong_01)
    match = better(right_0 + right_1, wrong_01 + wrong_10)
    return {"text": text, "image": image, "group": text & image, "match": match}


def all_right(
    scores: Float[np.ndarray, "item text"], right: Int[np.ndarray, "item"], *, strict: bool = True
) -> Bool[np.ndarray, "item"]:
    """Whether the first `right` texts of an item all beat all others; a score of minus infinity stands for no text.

    With two right ones it is the image-to-text score of SugarCrepe++ (Dumpala et al. 2024, arXiv:2406.11171).
    """
    true = np.arange(scores.shape[1])[None, :] < right[:, None]
    lowest = np.where(true, scores, np.inf).min(axis=1)
    highest = np.where(true, -np.inf, scores).max(axis=1)
    return lowest > highest if strict else lowest >= highest


def text_only_right(similarity: Float[np.ndarray, "item pair"], *, strict: bool = True) -> Bool[np.ndarray, "item"]:
    """Whether two right captions are closer to each other than either is to the wrong one, without any image.

    The columns of `similarity` are (first, second), (first, wrong) and (second, wrong): the text-only score of
    SugarCrepe++, whose two conditions start from each of the right captions.
    """
    nearest = similarity[:, 1:].max(axis=1)
    return similarity[:, 0] > nearest if strict else similarity[:, 0] >= nearest


def best_threshold(scores: Float[np.ndarray, "statement"], true: Bool[np.ndarray, "statement"]) -> float:
    """The threshold above which statements are best called true: the middle between two neighbouring scores.

    All statements are called true by minus infinity, none by plus infinity. Of several that are right as often the one
    in their middle is taken. Raises ValueError without statements.
    """
    if not len(scores):
        raise ValueError("a threshold needs statements to be chosen on")
    levels = np.unique(scores)
    thresholds = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    # A statement of level k (from 0) is called true by the thresholds 0 to k.
    place = np.searchsorted(levels, scores)
    gained = np.bincount(place, np.where(true, -1.0, 1.0), minlength=len(levels))
    correct = np.concatenate([[0.0], np.cumsum(gained)])
    best = np.flatnonzero(correct == correct.max())
    return float(thresholds[best[(len(best) - 1) // 2]])


def chance_of_all(texts: int, right: int) -> float:
    """How often a random order puts `right` texts before all others."""
    return 1 / comb(texts, right)


def chance_with_ties(scores: Float[np.ndarray, "text"], right: int) -> float:
    """How often the first `right` texts come before all others when ties are broken at random."""
    lowest, highest = scores[:right].min(), scores[right:].max()
    if lowest != highest:
        return float(lowest > highest)
    return chance_of_all(int((scores == lowest).sum()), int((scores[:right] == lowest).sum()))
