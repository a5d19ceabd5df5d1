"""Tables that every training writes one of, read together: `train/<method>/<seed>/<name>.parquet`."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from vialign.files.artifacts import read_table
from vialign.tables.schema import Table


def training_of(path: str | Path) -> tuple[str, int]:
    """The method and the seed of a file that a training wrote, from the folders it lies in."""
    method, seed = Path(path).parts[-3:-1]
    return method, int(seed)


def read_records(paths: Iterable[str | Path], table: Table) -> pd.DataFrame:
    """The rows of the same table of several trainings, with their method and seed as further columns."""
    parts = []
    for path in paths:
        method, seed = training_of(path)
        parts.append(read_table(path, table).assign(method=method, seed=seed))
    return pd.concat(parts, ignore_index=True)
