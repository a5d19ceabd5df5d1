"""Every table of the project, declared once: columns, types, units, ranges and meaning.

A stage writes a table with `vialign.files.artifacts.write_table(frame, TABLE, path, provenance)` and reads one with
`read_table(path, TABLE)`; both check the frame against the declaration, so a wrong column never reaches a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    type: pa.DataType
    """Arrow type on disk."""
    meaning: str
    """What a value says, with its unit."""
    low: float | None = None
    """Smallest value allowed."""
    high: float | None = None
    """Largest value allowed."""
    values: tuple[str, ...] | None = None
    """Allowed values of a category."""
    optional: bool = False
    """Whether a value may be missing."""
    key: bool = False
    """Whether the column belongs to the row's key, which is unique."""


class Table:
    """A declared table: its name and its columns, in order."""

    def __init__(self, name: str, /, **columns: Column) -> None:
        self.name = name
        self.columns = columns

    def check(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with exactly the declared columns, in order.

        Raises ValueError naming the table, the column and the first offending row.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        extra = [name for name in frame.columns if name not in self.columns]
        if missing or extra:
            raise ValueError(f"table {self.name}: missing columns {missing}, undeclared columns {extra}")
        frame = frame[list(self.columns)].reset_index(drop=True)
        for name, column in self.columns.items():
            self._check_column(name, column, frame[name])
        keys = [name for name, column in self.columns.items() if column.key]
        if keys:
            twice = frame.duplicated(keys)
            if twice.any():
                row = int(np.flatnonzero(twice)[0])
                raise ValueError(f"table {self.name}, row {row}: key {frame.loc[row, keys].to_dict()} appears twice")
        return frame

    def _check_column(self, name: str, column: Column, series: pd.Series) -> None:
        null = series.isna().to_numpy()
        bad, why = None, ""
        if not column.optional and null.any():
            bad, why = null, "is missing"
        elif column.low is not None or column.high is not None:
            numbers = series.to_numpy(dtype=float, na_value=np.nan)  # a missing one is outside of nothing
            low = -np.inf if column.low is None else column.low
            high = np.inf if column.high is None else column.high
            bad, why = (numbers < low) | (numbers > high), f"is outside [{low}, {high}]"
        elif column.values is not None:
            bad, why = ~series.isin(column.values).to_numpy() & ~null, f"is not one of {column.values}"
        if bad is not None and bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(f"table {self.name}, row {row}: {name} = {series[row]!r} {why}")

    def schema(self) -> pa.Schema:
        """The Arrow schema on disk."""
        return pa.schema([pa.field(name, column.type) for name, column in self.columns.items()])

    def to_arrow(self, frame: pd.DataFrame) -> pa.Table:
        """The checked frame as an Arrow table of the declared schema."""
        return pa.Table.from_pandas(frame, schema=self.schema(), preserve_index=False)

    def empty(self) -> pd.DataFrame:
        """A frame with the declared columns and no rows."""
        return self.schema().empty_table().to_pandas()


def text(meaning: str, *, optional: bool = False, key: bool = False) -> Column:
    """A string."""
    return Column(pa.string(), meaning, optional=optional, key=key)


def key(meaning: str) -> Column:
    """A string that, with the other keys, names the row."""
    return text(meaning, key=True)


def number_key(meaning: str) -> Column:
    """A whole number that, with the other keys, names the row."""
    return Column(pa.int64(), meaning, key=True)


def category(values: Sequence[str], meaning: str, *, optional: bool = False, key: bool = False) -> Column:
    """One of a closed list of strings."""
    return Column(pa.string(), meaning, values=tuple(values), optional=optional, key=key)


def whole(meaning: str, *, low: float | None = None, high: float | None = None, optional: bool = False) -> Column:
    """A whole number."""
    return Column(pa.int64(), meaning, low=low, high=high, optional=optional)


def number(meaning: str, *, low: float | None = None, high: float | None = None, optional: bool = False) -> Column:
    """A real number."""
    return Column(pa.float64(), meaning, low=low, high=high, optional=optional)


def unit_interval(meaning: str, *, optional: bool = False) -> Column:
    """A number in [0, 1], with room for rounding."""
    return number(meaning, low=-1e-6, high=1 + 1e-6, optional=optional)


def similarity(meaning: str, *, optional: bool = False) -> Column:
    """A cosine in [-1, 1], with room for rounding."""
    return number(meaning, low=-1.0001, high=1.0001, optional=optional)


def flag(meaning: str) -> Column:
    """True or false."""
    return Column(pa.bool_(), meaning)


def texts(meaning: str) -> Column:
    """A list of strings."""
    return Column(pa.list_(pa.string()), meaning)


def numbers(meaning: str) -> Column:
    """A list of real numbers."""
    return Column(pa.list_(pa.float64()), meaning)
