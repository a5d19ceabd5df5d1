"""Files of anybody's results, item by item: CSV or TSV, JSON lines, Parquet; every cell as text, then as an outcome."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from jaxtyping import Float

from vialign.errors import UserError, reading
from vialign.files.separated import read_separated
from vialign.files.text import NotJson, parse_json, text_lines

ITEM_IDS = ("item_id", "question_id", "sample_id", "uid", "id")
"""Columns that name an item by themselves, together with `PLACES`."""
PLACES = ("benchmark", "split", "measure")
IMAGES = ("image_id", "image", "filename", "file_name", "image_file", "file")
"""Columns that name the image of an item; items of one image are not independent."""
CAPTIONS = ("caption", "caption_0", "caption_1", "caption2", "negative_caption", "negative", "negative_image")
KINDS = ("text", "question", "answer", "type", "subtype", "category", "tag", "relation")
PARTS = (*PLACES, *IMAGES, *CAPTIONS, *KINDS)
"""Columns that name an item together, where none does so by itself."""
CORRECT = (
    *("correct", "is_correct", "hit"),
    *(f"{side}_{what}" for what in ("score", "correct") for side in ("text", "image", "group")),
)
"""Columns that say whether an item was solved."""
SCORES = ("score", "value", "soft_accuracy", "accuracy")
"""Columns with a share of an item that was solved, looked for where none of `CORRECT` is there."""

_YES_NO = {**dict.fromkeys(("1", "1.0", "true", "yes"), 1.0), **dict.fromkeys(("0", "0.0", "false", "no"), 0.0)}
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NO_FRACTION = re.compile(r"\.0+$")
_ADDRESS = re.compile(r"<.* at 0x[0-9a-fA-F]+>")
"""How Python writes an object that has no text of its own: another one in each process."""


def read_item_file(path: Path) -> pd.DataFrame:
    """One row an item, every cell as text; numbers that are whole without a fraction, what is missing as nothing.

    Raises UserError naming the file, the row (from 1, a header not counted) and the mend, where it is no file of its
    kind, or has no rows.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        with reading(path):
            path.stat()  # what is not there has no wrong ending
        raise UserError(f"{path}: results by item are read from {', '.join(_READERS)}; {_mend(path)}")
    with reading(path):
        table = read(path)
    if table.empty:
        raise UserError(f"{path}: holds no items; get it again")
    return table


def same_spelling(tables: Sequence[pd.DataFrame], known: Sequence[str]) -> list[pd.DataFrame]:
    """The tables with columns that differ in capitals alone called alike: as in `known`, else as in the first table.

    Columns stay as they are where a table has two that do not differ otherwise.
    """
    spelling = {name.casefold(): name for table in tables[::-1] for name in table.columns}
    spelling |= {name.casefold(): name for name in known}
    twice = {
        name.casefold()
        for table in tables
        for name, more in zip(table.columns, table.columns.str.casefold().duplicated(keep=False), strict=True)
        if more
    }
    return [
        table.rename(columns={n: spelling[n.casefold()] for n in table.columns if n.casefold() not in twice})
        for table in tables
    ]


def found_name(columns: Iterable[str], name: str) -> str:
    """The column of this name, else the only one that differs in capitals alone, else the name itself."""
    there = list(columns)
    alike = [own for own in there if own.casefold() == name.casefold()]
    return alike[0] if name not in there and len(alike) == 1 else name


def found_columns(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Those of the names that are columns."""
    there = set(columns)
    return [name for name in names if name in there]


def item_columns(tables: Sequence[pd.DataFrame]) -> tuple[list[str], list[str]]:
    """The columns that name an item in all the tables; and those that would, but hold addresses of objects."""
    common = set.intersection(*(set(table.columns) for table in tables))
    ids = found_columns(common, ITEM_IDS)
    wanted = found_columns(common, [*PLACES, *ids[:1]]) if ids else found_columns(common, PARTS)
    empty = [name for name in wanted if any(has_addresses(table[name]) for table in tables)]
    return [name for name in wanted if name not in empty], empty


def without_fractions(cells: pd.Series) -> pd.Series:
    """A column of numbers with the whole ones written without a fraction, `0` for the `0.0` that pandas makes of it.

    A column that holds anything else, such as `007` or a word, stays as it is; so does one in which `1` and `1.0` both
    stand, as they may be meant to differ.
    """
    if not cells[cells != ""].str.fullmatch(_NUMBER).all():
        return cells
    whole = cells.str.replace(_NO_FRACTION, "", regex=True)
    return whole if whole.nunique() == cells.nunique() else cells


def has_addresses(cells: pd.Series) -> bool:
    """Whether a column holds objects as Python writes them, which name nothing outside the process that wrote them."""
    return bool(cells.str.fullmatch(_ADDRESS).any())


def outcomes_of(path: Path, table: pd.DataFrame, column: str, *, yes_no: bool) -> Float[np.ndarray, "item"]:
    """The outcomes in a column: 0 or 1 where `yes_no` (also true and false, yes and no), else numbers from 0 to 1.

    Raises UserError naming the first row whose cell is none.
    """
    cells = table[column].str.strip().str.lower()
    values = cells.map(_YES_NO) if yes_no else pd.to_numeric(cells, errors="coerce")
    wrong = ~values.between(0, 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        wanted = "0, 1, true or false, yes or no" if yes_no else "a number from 0 to 1"
        option = "--correct" if yes_no else "--score"
        raise UserError(
            f"{path}, row {row + 1}: field `{column}`: {table[column].iloc[row]!r} is not {wanted}; correct it, or "
            f"name another column with {option}"
        )
    return values.to_numpy(np.float64)


def _mend(path: Path) -> str:
    """What to do with a file whose ending is none of those that are read."""
    if path.suffix.lower() in _PACKED:
        return f"unpack it and name the unpacked file, such as {path.stem}"
    if path.suffix.lower() == ".json":
        return f"write one object a line and name it {path.stem}.jsonl"
    return "give it the ending of what it is"


def _read_separated(separator: str) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        header, found = read_separated(path, separator)
        rows: list[list[str]] = []
        for number, line, fields in found:
            if len(fields) != len(header):
                raise UserError(
                    f"{path}, row {number} (line {line}): has {len(fields)} fields, the header "
                    f"has {len(header)}; put text that holds a separator in double quotes"
                )
            rows.append(fields)
        return pd.DataFrame(rows, columns=_header(path, header), dtype=str)

    return read


def _read_json_lines(path: Path) -> pd.DataFrame:
    return _as_text(path, _objects(path))


def _objects(path: Path) -> Iterator[dict[str, object]]:
    for number, line in text_lines(path):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            raise UserError(f"{path}, line {number}: {error}; write one JSON object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: is not a JSON object; write one object a line")
        yield row


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pq.ParquetFile(path, page_checksum_verification=True).read()
    _header(path, table.column_names)
    return _as_text(path, table.to_pylist())


def _as_text(path: Path, rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    given = list(rows)
    header = _header(path, list(dict.fromkeys(name for row in given for name in row)))
    return pd.DataFrame([[_cell(row.get(name)) for name in header] for row in given], columns=header, dtype=str)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _header(path: Path, header: list[str]) -> list[str]:
    twice = next((name for place, name in enumerate(header) if name in header[:place]), None)
    if twice is not None:
        raise UserError(f"{path}: column `{twice}` comes twice; name each column once")
    return header


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_separated(","),
    ".tsv": _read_separated("\t"),
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
