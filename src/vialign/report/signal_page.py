"""A page for one command of the signal toolkit: what it said, and its table."""

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import Section
from vialign.report.build import render_page
from vialign.report.evidence import FILE, ROW
from vialign.report.tables import Show, render_table
from vialign.tables.schema import Table

_TITLES = {
    "score": "Scores of every pair",
    "diagnose": "Can the signal be trusted here?",
    "stress": "What is kept under stress",
    "trust": "When to trust an answer",
    "attribute": "What carries the gain",
}
_ROWS = 500


def render_signal(
    command: str, said: str, frame: pd.DataFrame, table: Table, file: str, provenance: Mapping[str, str]
) -> str:
    """The page as text: self-contained, every word of the data escaped. `file` is the name of the written table."""
    traced = frame.copy()
    traced[FILE], traced[ROW] = file, range(len(frame))
    shown = [Show(name, name.replace("_", " "), _style(frame[name])) for name in frame.columns if _fits(frame[name])]
    sections = [
        Section("said", "In short", [Markup("<pre>{}</pre>").format(said)]),
        Section(
            "table",
            "All rows",
            [render_table(traced, table, source=file, title=table.name, columns=shown, limit=_ROWS)],
        ),
    ]
    return render_page(_TITLES[command], f"vialign signal {command}", sections, provenance)


def _fits(column: pd.Series) -> bool:
    """Whether a cell can hold its values."""
    return not column.map(lambda value: isinstance(value, list | tuple)).any()


def _style(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "flag"
    if pd.api.types.is_integer_dtype(column):
        return "count"
    return "number" if pd.api.types.is_float_dtype(column) else "text"
