"""Minimal pairs: Winoground (two images, two captions) and multiple choice (one image, several captions).

The only thing a method must offer is a function from aligned lists of image ids and text ids to scores. Inequalities
are strict: a tie counts as wrong and is flagged, so accuracy with ties counted as right (the convention of ARO's
order tasks) is the mean plus the share of ties.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vialign.evaluation.outcomes import ITEM_COLUMNS, item_rows

PairScores = Callable[[list[str], list[str]], np.ndarray]
"""Scores of aligned lists of image ids and text ids."""

WINOGROUND_PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1))


def text_id(item_id: str, candidate: int) -> str:
    """Name in TEXTS of a candidate caption of a choice item, or of a statement of a question."""
    return f"{item_id}:{candidate}"


def winoground_decisions(
    scores: Float[np.ndarray, "item image text"], *, strict: bool = True
) -> dict[str, Bool[np.ndarray, "item"]]:
    """Text, image and group score of every item (Thrush et al. 2022, arXiv:2204.03162, equations 1 to 3).

    scores[n, i, j] is that of image i with caption j; image i and caption i belong together. Text: each image prefers
    its own caption. Image: each caption prefers its own image. Group: both. `strict=False` counts ties as right.
    """
    better = np.greater if strict else np.greater_equal
    right_0, right_1 = scores[:, 0, 0], scores[:, 1, 1]
    wrong_01, wrong_10 = scores[:, 0, 1], scores[:, 1, 0]
    text = better(right_0, wrong_01) & better(right_1, wrong_10)
    image = better(right_0, wrong_10) & better(right_1, wrong_01)
    return {"text": text, "image": image, "group": text & image}


def choice_outcomes(choices: pd.DataFrame, pair_scores: PairScores) -> pd.DataFrame:
    """Outcomes of CHOICES items: columns benchmark, item_id, measure, value, tag, tie, chosen, image_id.

    An item with two images is read as Winoground (measures text, image, group), one with one image as multiple choice
    whose caption 0 is true (measure accuracy). All pairs are scored in one call. Raises ValueError for an item of any
    other form or a score that is not finite.
    """
    images_of, texts_of = choices["images"].str.len(), choices["texts"].str.len()
    double = (images_of == 2) & (texts_of == 2)
    single = (images_of == 1) & (texts_of >= 2)
    if not (double | single).all():
        item = choices.loc[~(double | single), "item_id"].iloc[0]
        raise ValueError(f"choice item {item}: neither one image with captions nor two images with two captions")
    image_ids: list[str] = []
    text_ids: list[str] = []
    for row in choices.to_dict("records"):
        pairs = WINOGROUND_PAIRS if len(row["images"]) == 2 else [(0, j) for j in range(len(row["texts"]))]
        image_ids += [row["images"][i] for i, _ in pairs]
        text_ids += [text_id(row["item_id"], j) for _, j in pairs]
    if not image_ids:
        return pd.DataFrame(columns=list(ITEM_COLUMNS))
    scores = np.asarray(pair_scores(image_ids, text_ids), dtype=np.float64)
    if scores.shape != (len(image_ids),) or not np.isfinite(scores).all():
        raise ValueError("choice scores are not finite, or not one a pair")
    counts = np.where(double, 4, texts_of)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    frames = []
    if double.any():
        square = scores[starts[double][:, None] + np.arange(4)].reshape(-1, 2, 2)
        frames.append(_winoground_rows(choices[double], square))
    if single.any():
        frames.append(_accuracy_rows(choices[single], _ragged(scores, starts[single], counts[single])))
    return pd.concat(frames, ignore_index=True)


def _ragged(
    values: Float[np.ndarray, "pair"], starts: np.ndarray, counts: np.ndarray
) -> Float[np.ndarray, "item candidate"]:
    """Rows of different length side by side, filled up with minus infinity."""
    column = np.arange(counts.max())
    inside = column[None, :] < counts[:, None]
    return np.where(inside, values[np.minimum(starts[:, None] + column, len(values) - 1)], -np.inf)


def _accuracy_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item candidate"]) -> pd.DataFrame:
    rival = 1 + scores[:, 1:].argmax(axis=1)
    best_wrong = scores[np.arange(len(scores)), rival]
    chosen = [text_id(item, j) for item, j in zip(items["item_id"], rival.tolist(), strict=True)]
    return _rows(items, "accuracy", scores[:, 0] > best_wrong, scores[:, 0] == best_wrong, chosen)


def _winoground_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item image text"]) -> pd.DataFrame:
    strict, lenient = winoground_decisions(scores), winoground_decisions(scores, strict=False)
    # The wrong answer to show is that of the query that fails by the larger margin.
    text_margin = np.stack([scores[:, 0, 1] - scores[:, 0, 0], scores[:, 1, 0] - scores[:, 1, 1]], axis=1)
    image_margin = np.stack([scores[:, 1, 0] - scores[:, 0, 0], scores[:, 0, 1] - scores[:, 1, 1]], axis=1)
    wrong_text = 1 - text_margin.argmax(axis=1)
    wrong_image = 1 - image_margin.argmax(axis=1)
    texts = [text_id(item, j) for item, j in zip(items["item_id"], wrong_text.tolist(), strict=True)]
    images = [names[i] for names, i in zip(items["images"], wrong_image.tolist(), strict=True)]
    group = [image if won else text for image, text, won in zip(images, texts, strict["text"], strict=True)]
    chosen = {"text": texts, "image": images, "group": group}
    return pd.concat(
        [_rows(items, measure, won, lenient[measure] & ~won, chosen[measure]) for measure, won in strict.items()]
    )


def _rows(items: pd.DataFrame, measure: str, won: np.ndarray, tie: np.ndarray, chosen: list[str]) -> pd.DataFrame:
    return item_rows(
        benchmark=items["benchmark"].tolist(),
        item_id=items["item_id"].tolist(),
        measure=measure,
        value=won.astype(np.float64),
        tag=[tag or None for tag in items["tag"]],
        tie=tie,
        chosen=chosen,
        image_id=[images[0] for images in items["images"]],
    )
