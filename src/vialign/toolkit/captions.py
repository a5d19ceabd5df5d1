"""Captions of a folder of images, from a CSV file, and which of those images can be read."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign.data.base import TOLERANCE, found_name, has_words, is_there, near_name, safe_join, too_many
from vialign.errors import UserError, printable
from vialign.files.separated import other_separator, read_separated

COLUMNS = ("image", "caption")
"""Columns that the file must have; `caption_id` is optional, every other column is left alone."""
SHOWN = 3
"""Names that a message gives as examples."""


@dataclass(frozen=True)
class Captions:
    """Images and what is said of them."""

    folder: Path
    """Folder that the names of the images are relative to."""
    file: Path
    """The CSV file."""
    table: pd.DataFrame
    """One row a caption, in the order of the file: `position` (row of the file, from 1, header not counted), `image_id`
    (file name relative to the folder), `text_id` (`<image_id>#<n>`, n counting the captions of the image from 0),
    `caption_id` (the file's own, or the `text_id`) and `text`."""
    strict: bool = False
    """Whether an image that is missing or broken stops the work."""
    tolerance: float = TOLERANCE
    """Share of the images that may be missing, and of those that may be broken."""

    @property
    def image_ids(self) -> list[str]:
        """Names of the images, in the order of their first caption."""
        return self.table["image_id"].drop_duplicates().tolist()


def read_captions(
    images: str | Path, captions: str | Path, strict: bool = False, tolerance: float = TOLERANCE
) -> Captions:
    """Read a CSV file of captions (columns `image`, `caption` and, where wanted, `caption_id`) of a folder of images.

    Captions of images that are not in the folder, and captions in which cleaning leaves no word (`&nbsp;`), are
    skipped, with a line on stderr; with `strict`, or where the share of such images or captions is over `tolerance`,
    they are an error. Raises UserError naming file, row and field when the file is missing or is no such CSV, a field
    is empty, a name leads out of the folder, a caption id comes twice, or no image is left.

    >>> captions = read_captions("shapes/images", "shapes/captions.csv")
    >>> len(captions.table), captions.image_ids[:2]
    (180, ['00000.png', '00001.png'])
    """
    folder, file = Path(images), Path(captions)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images")
    rows = list(_rows(folder, file, strict, tolerance))
    if not rows:
        raise UserError(
            f"{file}: has a header but no captions that can be used; add rows with the fields image and caption"
        )
    table = pd.DataFrame(rows, columns=["position", "image_id", "caption_id", "text"])
    number = table.groupby("image_id", sort=False).cumcount().astype(str)
    table.insert(2, "text_id", table["image_id"] + "#" + number)
    table["caption_id"] = table["caption_id"].where(table["caption_id"] != "", table["text_id"])
    again = table[table["caption_id"].duplicated()]
    if len(again):
        position, named = again[["position", "caption_id"]].iloc[0]
        raise UserError(
            f"{file}, row {position}: field `caption_id`: {named!r} comes twice, once as what a caption without an id "
            "is called; give each caption its own"
        )
    names = table["image_id"].drop_duplicates().tolist()
    missing = [name for name in names if not is_there(folder / name)]
    if missing:
        lost = int(table["image_id"].isin(missing).sum())
        near = near_name(folder, missing[0])
        there = f"; it has {near} in the place of {missing[0]}" if near else ""
        what = (
            f"{file}: names {len(missing)} of {len(names)} images that are not in {folder} ({shorten(missing)}){there}"
        )
        if strict or len(missing) == len(names):
            raise UserError(f"{what}; put them there or correct the field `image`")
        if too_many(len(missing), len(names), tolerance):
            raise UserError(f"{what}, more than --tolerance ({tolerance:g}); put them there, or raise it to go on")
        warn(f"{what}; {lost} captions skipped (strict stops here instead)")
    return Captions(folder, file, table[~table["image_id"].isin(missing)].reset_index(drop=True), strict, tolerance)


def warn(message: str) -> None:
    """One line on stderr."""
    print(f"vialign: {printable(message)}", file=sys.stderr, flush=True)


def tell_cut(what: str, cut: bool) -> None:
    """One line on stderr where a text is longer than the model's context."""
    if cut:
        warn(f"{what}: longer than the model reads; the end is cut off")


def shorten(names: Sequence[str]) -> str:
    """The first few names, and dots where there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _rows(folder: Path, file: Path, strict: bool, tolerance: float) -> Iterator[tuple[int, str, str, str]]:
    """Row number, name of the image, caption id (empty where there is none) and caption of every row, checked."""
    if not file.exists():
        raise UserError(f"{file}: no such file of captions")
    header, found = read_separated(file)
    _check_header(file, header)
    ids: set[str] = set()
    wordless: list[str] = []
    position = 0
    for position, line, fields in found:
        where = f"{file}, row {position} (line {line})"
        if len(fields) != len(header):
            raise UserError(
                f"{where}: has {len(fields)} fields, the header has {len(header)}; put a caption with commas "
                "in double quotes"
            )
        row = dict(zip(header, fields, strict=True))
        image, name = row["image"].strip(), row.get("caption_id", "").strip()
        _check_row(folder, where, image, row["caption"])
        if name and name in ids:
            raise UserError(f"{where}: field `caption_id`: {name!r} comes twice; give each caption its own")
        ids.add(name)
        if not has_words(row["caption"]):
            wordless.append(_without_words(where, row["caption"], name, strict))
            continue
        yield position, found_name(folder, os.path.normpath(image)), name, row["caption"]
    if not wordless:
        return
    if too_many(len(wordless), position, tolerance):
        raise UserError(
            f"{wordless[0]}, and so have {len(wordless)} of {position} captions, more than --tolerance "
            f"({tolerance:g}); give them words, or raise it to go on"
        )
    warn(f"{wordless[0]}; {len(wordless)} captions without words skipped (strict stops here instead)")


def _without_words(where: str, caption: str, name: str, strict: bool) -> str:
    """What to say of a caption in which nothing is left to encode. Raises UserError when strict."""
    called = f" of caption_id {name}" if name else ""
    said = f"{where}: field `caption`{called}: {caption.strip()[:40]!r} has no words"
    if strict:
        raise UserError(f"{said}; give it a text or remove the row")
    return said


def _check_row(folder: Path, where: str, image: str, caption: str) -> None:
    for field, value in (("image", image), ("caption", caption.strip())):
        if not value:
            raise UserError(f"{where}: field `{field}` is empty; fill it in or remove the row")
    try:
        safe_join(folder, image)
    except UserError as error:
        raise UserError(f"{where}: field `image`: {error}") from None


def _check_header(file: Path, header: Sequence[str]) -> None:
    other = other_separator(header)
    for column in COLUMNS:
        if column not in header:
            raise UserError(
                f"{file}, line 1: no column `{column}`, only {', '.join(header) or 'nothing'}; the first line must "
                f"name the columns image and caption, separated by commas{f', not by {other}' if other else ''}"
            )
    if any(header.count(column) > 1 for column in (*COLUMNS, "caption_id")):
        raise UserError(f"{file}, line 1: a column comes twice ({', '.join(header)}); name each column once")
