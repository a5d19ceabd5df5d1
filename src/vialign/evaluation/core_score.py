"""The score by which methods are chosen and stopped, image by image: recall in both directions, and negatives."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.errors import UserError
from vialign.evaluation.two_level import Contrast, difference_of, linearised, mean_of

_RECALL = (("image_to_text", "r1"), ("text_to_image", "r1"))
_NEGATIVES = ("negatives", "accuracy")


@dataclass(frozen=True)
class CoreScores:
    """Linearised values of every method and seed, one row an image; their means over images are the scores."""

    columns: dict[str, dict[int, int]]
    """Column of each training seed, by method."""
    parts: dict[str, Float[np.ndarray, "image column"]]
    """`score`, the mean of the two others, by which combinations are chosen; `recall`, the mean R@1 of both directions;
    `negatives`, accuracy against rule-made negatives. Without negatives, `score` is recall and there is no third."""

    def mean(self, method: str) -> Contrast:
        """The mean of a method over its seeds."""
        return mean_of(list(self.columns[method].values()), self._width)

    def difference(self, method: str, reference: str) -> Contrast:
        """The mean of a method minus that of a reference, paired where both have seeds in common."""
        return difference_of(self.columns[method], self.columns[reference], self._width)

    @property
    def _width(self) -> int:
        return sum(map(len, self.columns.values()))


def core_scores(outcomes: pd.DataFrame) -> CoreScores:
    """Scores from the OUTCOMES, on one split, of several methods and seeds; rows of other measures are left out.

    Raises UserError where two of them were not evaluated on the same queries.
    """
    name = outcomes["benchmark"].str.rsplit("/", n=1).str[-1]
    wanted = {kind: outcomes[(name == kind[0]) & (outcomes["measure"] == kind[1])] for kind in (*_RECALL, _NEGATIVES)}
    rows = pd.concat(list(wanted.values()))
    images = pd.Index(sorted(rows["image_id"].unique()))
    width = pd.MultiIndex.from_frame(rows[["method", "seed"]].drop_duplicates().sort_values(["method", "seed"]))
    columns: dict[str, dict[int, int]] = {}
    for column, (method, number) in enumerate(width):
        columns.setdefault(method, {})[int(number)] = column
    values = {kind: _values(part, images, width) for kind, part in wanted.items() if len(part)}
    parts = {"recall": np.mean([values[kind] for kind in _RECALL if kind in values], axis=0)}
    if _NEGATIVES in values:
        parts["negatives"] = values[_NEGATIVES]
    return CoreScores(columns, {"score": np.mean(list(parts.values()), axis=0), **parts})


def _values(rows: pd.DataFrame, images: pd.Index, width: pd.MultiIndex) -> Float[np.ndarray, "image column"]:
    """Linearised mean over the queries of one kind."""
    cells = rows.groupby(["image_id", "method", "seed"], observed=True)["value"].agg(["sum", "count"])
    tables = (cells[name].unstack(["method", "seed"]) for name in ("sum", "count"))
    sums, counts = (pd.DataFrame(wide).reindex(images, columns=width).fillna(0).to_numpy(np.float64) for wide in tables)
    if (counts != counts[:, :1]).any():
        method, number = width[int(np.flatnonzero((counts != counts[:, :1]).any(axis=0))[0])]
        raise UserError(
            f"{rows['benchmark'].iloc[0]}: {method}, seed {number}, and {width[0][0]}, seed {width[0][1]}, were not "
            "evaluated on the same queries; evaluate them again"
        )
    return linearised(sums[:, :, None], counts[:, :1])
