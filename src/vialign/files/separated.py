"""The one way to read a table of separated text: as spreadsheets and programs of any system write it."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vialign.errors import UserError
from vialign.files.text import read_text

_OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_REASONS = {
    "unexpected end of data": "a quote is not closed",
    "field larger than field limit": "a field has more than 131,072 characters, as where a quote is not closed",
}
"""What is meant by how the csv module begins, in words."""


class Row(NamedTuple):
    """A row below the header."""

    number: int
    """From 1; lines without any field are not counted."""
    line: int
    """On which it begins."""
    fields: list[str]
    """As many as the header has, or more or fewer where the row is broken."""


def read_separated(path: Path, separator: str = ",", dataset: str = "") -> tuple[list[str], Iterator[Row]]:
    """The names of the columns, and the rows.

    Spaces around a name are no part of it, and columns at the end that have neither a name nor a cell, which
    spreadsheets write, are none. `dataset` stands before the file in an error. Raises UserError where the file is no
    text, and, as far as the rows are read, naming the line on which one begins whose quotes are wrong.
    """
    reader = csv.reader(io.StringIO(read_text(path, dataset), newline=""), delimiter=separator, strict=True)
    place = f"{dataset}: {path}" if dataset else str(path)

    def rows() -> Iterator[Row]:
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                said = next((words for begins, words in _REASONS.items() if str(error).startswith(begins)), str(error))
                raise UserError(f"{place}, line {line}: is not CSV ({said}); correct its quotes") from None
            if fields is None:
                return
            if fields or not number:
                yield Row(number, line, fields)
                number += 1

    found = rows()
    header = [name.strip() for name in next(found, Row(0, 1, [])).fields]
    while header and not header[-1]:
        header.pop()
    return header, (row._replace(fields=_without_empty(row.fields, len(header))) for row in found)


def other_separator(header: Sequence[str], separator: str = ",") -> str:
    """What a table is separated by whose header was taken for one name, such as `semicolons`; empty where it is not."""
    whole = header[0] if len(header) == 1 else ""
    return next((words for sign, words in _OTHERS.items() if sign != separator and sign in whole), "")


def _without_empty(fields: list[str], most: int) -> list[str]:
    """Without the empty cells behind the last column."""
    end = len(fields)
    while end > most and not fields[end - 1].strip():
        end -= 1
    return fields[:end]
