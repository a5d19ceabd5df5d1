"""Test items of every form (`vialign.evaluation.forms`), from the scores that a method gives to images and texts.

A method must offer a function from aligned lists of image ids and text ids to scores; for the text-only score also one
of aligned lists of text ids. Inequalities are strict: a tie counts as wrong and is flagged, so accuracy with ties
counted as right (the convention of ARO's order tasks) is the mean plus the share of ties.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.evaluation.forms import all_right, best_threshold, text_only_right, winoground_decisions
from vialign.evaluation.outcomes import ITEM_COLUMNS, item_rows
from vialign.tables.data import DEVELOPMENT

PairScores = Callable[[list[str], list[str]], np.ndarray]
"""Scores of aligned lists of image ids and text ids."""
TextScores = Callable[[list[str], list[str]], np.ndarray]
"""Similarities of aligned lists of text ids."""


def text_id(item_id: str, candidate: int) -> str:
    """Name in TEXTS of a candidate caption of a choice item, or of a statement of a question."""
    return f"{item_id}:{candidate}"


def form_of(choices: pd.DataFrame) -> pd.Series:
    """The form of every CHOICES item. Raises ValueError naming an item that has none of them."""
    images, texts = choices["images"].str.len(), choices["texts"].str.len()
    told = choices["right"].notna()
    right = right_of(choices)
    form = pd.Series(None, index=choices.index, dtype=object)
    form[~told & (images == 2) & (texts == 2)] = "pairs"
    form[~told & (images == 1) & (texts >= 2)] = "choice"
    form[~told & (images >= 2) & (texts == 1)] = "image_choice"
    form[told & (images == 1) & (texts > right) & (right >= 1)] = "both_right"
    form[told & (images == 1) & (texts == 1)] = "statement"
    if form.isna().any():
        item = choices.loc[form.isna(), "item_id"].iloc[0]
        raise ValueError(
            f"choice item {item}: neither one image with captions, nor two images with two captions, nor images with "
            "one caption, nor a statement"
        )
    return form


def right_of(choices: pd.DataFrame) -> Int[np.ndarray, "item"]:
    """How many of the first texts are true of the first image."""
    return choices["right"].astype(float).fillna(1).to_numpy().astype(np.int64)


def choice_outcomes(
    choices: pd.DataFrame, pair_scores: PairScores, text_scores: TextScores | None = None
) -> pd.DataFrame:
    """Outcomes of CHOICES items: columns benchmark, item_id, measure, value, tag, tie, chosen, image_id.

    The form of an item (`form_of`) says which measures it gets. All pairs are scored in one call. Without `text_scores`
    there is no text-only score. The statements of a benchmark whose name ends in `_dev` choose the threshold of the
    others and are not scored. Raises ValueError for an item of another form, statements without a threshold, or a score
    that is not finite.
    """
    if choices.empty:
        return pd.DataFrame(columns=list(ITEM_COLUMNS))
    form = form_of(choices)
    image_ids: list[str] = []
    text_ids: list[str] = []
    for row in choices.to_dict("records"):
        for image in row["images"]:
            image_ids += [image] * len(row["texts"])
            text_ids += [text_id(row["item_id"], j) for j in range(len(row["texts"]))]
    scores = _finite(pair_scores(image_ids, text_ids), len(image_ids))
    counts = (choices["images"].str.len() * choices["texts"].str.len()).to_numpy(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    frames: list[pd.DataFrame] = []
    for name, rows_of in _ROWS.items():
        own = (form == name).to_numpy()
        if own.any():
            items = choices[own]
            frames += rows_of(items, _ragged(scores, starts[own], counts[own]))
            if name == "both_right" and text_scores is not None:
                frames += _text_only_rows(items, text_scores)
    return pd.concat(frames, ignore_index=True)


def _finite(found: np.ndarray, count: int) -> Float[np.ndarray, "pair"]:
    scores = np.asarray(found, dtype=np.float64)
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise ValueError("choice scores are not finite, or not one a pair")
    return scores


def _ragged(
    values: Float[np.ndarray, "pair"], starts: np.ndarray, counts: np.ndarray
) -> Float[np.ndarray, "item candidate"]:
    """Rows of different length side by side, filled up with minus infinity."""
    column = np.arange(counts.max())
    inside = column[None, :] < counts[:, None]
    return np.where(inside, values[np.minimum(starts[:, None] + column, len(values) - 1)], -np.inf)


def _accuracy_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item candidate"]) -> Iterator[pd.DataFrame]:
    rival = 1 + scores[:, 1:].argmax(axis=1)
    best_wrong = scores[np.arange(len(scores)), rival]
    yield _rows(items, "accuracy", scores[:, 0] > best_wrong, scores[:, 0] == best_wrong, _text_names(items, rival))


def _both_right_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item candidate"]) -> Iterator[pd.DataFrame]:
    right = right_of(items)
    wrong = np.where(np.arange(scores.shape[1])[None, :] < right[:, None], -np.inf, scores)
    won, lenient = (all_right(scores, right, strict=strict) for strict in (True, False))
    yield _rows(items, "both_right", won, lenient & ~won, _text_names(items, wrong.argmax(axis=1)))


def _text_only_rows(items: pd.DataFrame, text_scores: TextScores) -> Iterator[pd.DataFrame]:
    """Of the items with two right texts and a wrong one."""
    own = items[(items["texts"].str.len() == 3) & (right_of(items) == 2)]
    if own.empty:
        return
    pairs = [(text_id(item, i), text_id(item, j)) for item in own["item_id"] for i, j in ((0, 1), (0, 2), (1, 2))]
    first, second = (list(names) for names in zip(*pairs, strict=True))
    similarity = _finite(text_scores(first, second), len(pairs)).reshape(-1, 3)
    won, lenient = (text_only_right(similarity, strict=strict) for strict in (True, False))
    yield _rows(own, "text_only", won, lenient & ~won, _text_names(own, np.full(len(own), 2)))


def _image_choice_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item image"]) -> Iterator[pd.DataFrame]:
    rival = 1 + scores[:, 1:].argmax(axis=1)
    best_wrong = scores[np.arange(len(scores)), rival]
    chosen = [names[i] for names, i in zip(items["images"], rival.tolist(), strict=True)]
    yield _rows(items, "image_choice", scores[:, 0] > best_wrong, scores[:, 0] == best_wrong, chosen)


def _statement_rows(items: pd.DataFrame, scores: Float[np.ndarray, "item 1"]) -> Iterator[pd.DataFrame]:
    true = right_of(items) == 1
    for benchmark in items["benchmark"].unique():
        if benchmark.endswith(DEVELOPMENT):
            continue
        own, known = ((items["benchmark"] == name).to_numpy() for name in (benchmark, benchmark + DEVELOPMENT))
        if not known.any():
            raise ValueError(f"{benchmark}: no statements of {benchmark}{DEVELOPMENT} to choose a threshold on")
        said = scores[own, 0] > best_threshold(scores[known, 0], true[known])
        no_tie, nothing = np.zeros(own.sum(), dtype=bool), [None] * int(own.sum())
        yield _rows(items[own], "statement", said == true[own], no_tie, nothing)


def _winoground_rows(items: pd.DataFrame, flat: Float[np.ndarray, "item pair"]) -> Iterator[pd.DataFrame]:
    scores = flat.reshape(-1, 2, 2)
    strict, lenient = winoground_decisions(scores), winoground_decisions(scores, strict=False)
    # The wrong answer to show is that of the query that fails by the larger margin.
    text_margin = np.stack([scores[:, 0, 1] - scores[:, 0, 0], scores[:, 1, 0] - scores[:, 1, 1]], axis=1)
    image_margin = np.stack([scores[:, 1, 0] - scores[:, 0, 0], scores[:, 0, 1] - scores[:, 1, 1]], axis=1)
    wrong_image = 1 - image_margin.argmax(axis=1)
    texts = _text_names(items, 1 - text_margin.argmax(axis=1))
    images = [names[i] for names, i in zip(items["images"], wrong_image.tolist(), strict=True)]
    group = [image if won else text for image, text, won in zip(images, texts, strict["text"], strict=True)]
    chosen = {"text": texts, "image": images, "group": group, "match": group}
    for measure, won in strict.items():
        yield _rows(items, measure, won, lenient[measure] & ~won, chosen[measure])


def _text_names(items: pd.DataFrame, places: Int[np.ndarray, "item"]) -> list[str]:
    return [text_id(item, j) for item, j in zip(items["item_id"], places.tolist(), strict=True)]


def _rows(
    items: pd.DataFrame, measure: str, won: np.ndarray, tie: np.ndarray, chosen: list[str] | list[None]
) -> pd.DataFrame:
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


_ROWS = {
    "pairs": _winoground_rows,
    "choice": _accuracy_rows,
    "both_right": _both_right_rows,
    "image_choice": _image_choice_rows,
    "statement": _statement_rows,
}
"""Form to what makes its rows of the items and their scores, an image after the other."""
