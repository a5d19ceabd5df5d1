"""How a command shows a table: aligned words for people, or JSON for programs."""

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def json_rows(frame: "pd.DataFrame") -> list[dict[str, object]]:
    """Rows of a table as objects of JSON; what is missing is None."""
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records", double_precision=12))
    return rows


def print_json(frame: "pd.DataFrame") -> None:
    """Rows of a table as a JSON list of objects on stdout; what is missing is null."""
    print_object(json_rows(frame))


def print_object(value: object) -> None:
    """Anything else as JSON on stdout, in ASCII alone: a console without some sign would show it as no JSON has it."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def print_columns(frame: "pd.DataFrame") -> None:
    """A table of text in columns."""
    if len(frame):
        print(frame.to_string(index=False))
