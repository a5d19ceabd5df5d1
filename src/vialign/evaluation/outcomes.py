"""The rows that every benchmark gives: OUTCOMES without the columns that name the run (method, seed, split)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

ITEM_COLUMNS = ("benchmark", "item_id", "measure", "value", "tag", "tie", "chosen", "image_id")


class NotFinite(ValueError):
    """Scores that are no numbers: the method that gave them has diverged."""


def item_rows(
    *,
    benchmark: Sequence[str] | str,
    item_id: Sequence[str],
    measure: str,
    value: Float[np.ndarray, "item"],
    tie: Bool[np.ndarray, "item"],
    chosen: Sequence[str | None],
    image_id: Sequence[str],
    tag: Sequence[str | None] | None = None,
    failed: Bool[np.ndarray, "item"] | None = None,
) -> pd.DataFrame:
    """One row an item; `chosen` is kept only where the item `failed` (by default: where its value is below 1)."""
    failed = value < 1 if failed is None else failed
    rows = {
        "benchmark": benchmark,
        "item_id": item_id,
        "measure": measure,
        "value": value,
        "tag": tag,
        "tie": tie,
        "chosen": [name if lost else None for name, lost in zip(chosen, failed, strict=True)],
        "image_id": image_id,
    }
    return pd.DataFrame(rows, columns=list(ITEM_COLUMNS))
