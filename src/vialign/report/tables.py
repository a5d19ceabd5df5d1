"""A frame as an HTML table in which every value says which cell of which Parquet file it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import part
from vialign.report.evidence import FILE, ROW
from vialign.report.numbers import WORDS, shape
from vialign.tables.schema import Table


@dataclass(frozen=True)
class Show:
    """How one column is shown."""

    column: str
    header: str
    style: str = "text"
    """A style of `vialign.report.numbers.shape`."""
    low: str | None = None
    """Column with the lower end of the interval shown beside the value."""
    high: str | None = None

    @property
    def columns(self) -> list[str]:
        """Every column of the frame that a cell shows."""
        return [column for column in (self.column, self.low, self.high) if column]


@dataclass(frozen=True)
class Cell:
    """One cell: its value and, where there are any, the ends of its interval; each with column, raw value and text."""

    values: tuple[tuple[str, Any, str], ...]
    style: str
    sort: str
    file: str | None = None
    row: int | None = None


def render_table(
    frame: pd.DataFrame,
    table: Table | None,
    *,
    source: str,
    title: str,
    columns: Sequence[Show],
    derived: str | None = None,
    limit: int = 200,
) -> Markup:
    """A frame as a table: one row a row, the first column as its header.

    `source` names the Parquet file for the reader. Rows that carry `FILE` and `ROW` (see `report.evidence`) are
    traced cell by cell; a frame without them was counted from the source, and `derived` says how. `table` gives the
    meaning of the columns. At most `limit` rows are shown, and the page says so.
    """
    if (FILE in frame) == (derived is not None):
        raise ValueError(f"table {title!r}: rows are either traced to a file or said to be derived")
    shown = frame.head(limit)
    lines = []
    for _, row in shown.iterrows():
        where = (str(row[FILE]), int(row[ROW])) if FILE in frame else (None, None)
        lines.append([_cell(row, show, *where) for show in columns])
    return _render(
        [show.header for show in columns],
        [show.style for show in columns],
        lines,
        source=source,
        title=title,
        derived=derived,
        hidden=len(frame) - len(shown),
        meanings=_meanings(table, [name for show in columns for name in show.columns]),
        leading=1,
    )


def render_matrix(
    frame: pd.DataFrame, table: Table, *, source: str, title: str, rows: Sequence[Show], across: str, value: Show
) -> Markup:
    """A long frame as a matrix: one row a combination of `rows`, one column a value of `across`."""
    names = list(dict.fromkeys(frame[across]))
    lines = []
    for _, group in frame.groupby([show.column for show in rows], sort=False):
        first = group.iloc[0]
        line = [_cell(first, show, str(first[FILE]), int(first[ROW])) for show in rows]
        first_of = {name: place for place, name in reversed(list(enumerate(group[across])))}
        for name in names:
            if name not in first_of:
                line.append(Cell((("", "", shape(None, "text")),), value.style, ""))
            else:
                found = group.iloc[first_of[name]]
                line.append(_cell(found, value, str(found[FILE]), int(found[ROW])))
        lines.append(line)
    return _render(
        [*(show.header for show in rows), *names],
        [*(show.style for show in rows), *(value.style for _ in names)],
        lines,
        source=source,
        title=title,
        derived=None,
        hidden=0,
        meanings=_meanings(table, [name for show in [*rows, value] for name in show.columns]),
        leading=len(rows),
    )


def _cell(row: pd.Series, show: Show, file: str | None, place: int | None) -> Cell:
    names = show.columns if all(pd.notna(row[name]) for name in show.columns[1:]) else [show.column]
    values = []
    for name in names:
        value = row[name]
        if isinstance(value, Sequence) and not isinstance(value, str):
            raise ValueError(f"column {name!r} holds lists and cannot be a cell")
        values.append((name, "" if pd.isna(value) else value, shape(value, show.style)))
    sort = "" if show.style in WORDS else str(values[0][1])
    return Cell(tuple(values), show.style, sort, file, place)


def _meanings(table: Table | None, names: list[str]) -> list[tuple[str, str]]:
    if table is None:
        return []
    return [(name, table.columns[name].meaning) for name in dict.fromkeys(names) if name in table.columns]


def _render(headers: list[str], styles: list[str], lines: list[list[Cell]], **values: object) -> Markup:
    return part("table.html.j2", words=WORDS, headers=headers, styles=styles, lines=lines, **values)
