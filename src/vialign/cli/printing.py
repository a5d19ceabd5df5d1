"""How a command shows a table: aligned words for people, or JSON for programs."""

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def print_json(frame: "pd.DataFrame") -> None:
    """Rows of a table as a JSON list of objects on stdout; what is missing is null."""
    rows = json.loads(frame.to_json(orient="records", double_precision=12))
    sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def print_object(value: object) -> None:
    """Anything else as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def print_columns(frame: "pd.DataFrame") -> None:
    """A table of text in columns."""
    if len(frame):
        print(frame.to_string(index=False))
