"""A drawing and the rows it shows, so that a reader can take the numbers along without the results folder."""

from collections.abc import Sequence
from urllib.parse import quote

import pandas as pd

from vialign.report.evidence import FILE, ROW

_TRACE = {FILE: "file", ROW: "row"}


class Drawing(str):
    """An SVG element as text; `rows` holds what is drawn, in the units of the table it comes from."""

    name: str
    rows: pd.DataFrame

    def __new__(cls, svg: str, name: str, frame: pd.DataFrame, columns: Sequence[str | None]) -> "Drawing":
        """Keep the `columns` of `frame` that are drawn (None is none) and where each row stands in its file."""
        drawing = super().__new__(cls, svg)
        several = FILE in frame and frame[FILE].nunique() > 1
        trace = [column for column in (FILE, ROW) if column in frame and (several or column == ROW)]
        kept = [column for column in dict.fromkeys((*columns, *trace)) if column is not None]
        drawing.name, drawing.rows = name, frame[kept].rename(columns=_TRACE)
        return drawing

    def csv(self) -> str:
        """The rows as CSV, numbers to nine digits."""
        return self.rows.to_csv(index=False, float_format="%.9g", lineterminator="\n")

    def address(self) -> str:
        """The CSV as a data URI, which a link can offer as a download without a network."""
        return "data:text/csv;charset=utf-8," + quote(self.csv(), safe=",:;/._-~!*()@")
