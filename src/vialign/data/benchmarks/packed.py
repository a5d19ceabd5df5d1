"""Benchmarks that a data hub serves with their images inside Parquet files: found whole, and unpacked to a folder."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from vialign.data.base import Problems
from vialign.data.published_files import Record, find_file, records
from vialign.errors import UserError, not_the_file, reading
from vialign.files.artifacts import atomic_path, write_text
from vialign.progress import track_blocks

_PART = re.compile(r"test-(\d{5})-of-(\d{5})")
"""How the hub names the parts of a split, from 0."""
_BATCH = 8
"""Rows of the Parquet file in memory at a time; each holds two photographs of about half a megabyte."""


class Picture(Record):
    """An image file inside a column of a Parquet file."""

    content: bytes = Field(alias="bytes", min_length=1)


@dataclass(frozen=True)
class Packed:
    """A benchmark whose packed form becomes a CSV file and a folder of images."""

    name: str
    file: str
    """The CSV file that unpacking writes, last of all: a folder that has it is whole."""
    model: type[Record]
    """A row of the Parquet file; `images` of it are `Picture`s."""
    images: tuple[str, ...]
    suffix: str
    """Of the image files that are written."""


def require_unpacked(folder: Path, packed: Packed) -> Path:
    """The CSV file of a benchmark. Raises UserError when there is none, and says how to make it of what is there."""
    path = find_file(folder, (packed.file,))
    if path is not None:
        return path
    found = find_parquet(folder, packed.name)
    if found:
        raise UserError(
            f"{packed.name}: {folder}: holds the images packed in {found[0].name}; "
            f"run `vialign data unpack {packed.name} {folder}`"
        )
    raise UserError(f"{packed.name}: {folder}: has no file {packed.file}; put it there as docs/data.md says")


def find_parquet(folder: Path, name: str) -> list[Path]:
    """The hub's Parquet file in a folder, or in `data/` of it: all its parts, in order; empty without any.

    Raises UserError naming the part that is missing, or one that is there twice or of another division.
    """
    found = sorted(folder.glob("test-*.parquet")) or sorted(folder.glob("data/test-*.parquet"))
    named = [(path, match) for path in found if (match := _PART.match(path.name)) is not None]
    parts: dict[int, Path] = {}
    for path, match in named:
        number, count = int(match[1]), int(match[2])
        first, total = named[0][0], int(named[0][1][2])
        if count != total or number in parts:
            other = parts.get(number, first)
            raise UserError(f"{name}: {path}: does not go with {other.name}; keep the parts of one download only")
        parts[number] = path
    missing = [number for number in range(int(named[0][1][2]) if named else 0) if number not in parts]
    if missing:
        part = f"test-{missing[0]:05d}-of-{int(named[0][1][2]):05d}"
        raise UserError(
            f"{name}: {named[0][0].parent}: {len(missing)} of {int(named[0][1][2])} parts of the data set are "
            f"missing, the first of them {part}-*.parquet; download it too"
        )
    if len(found) > max(1, len(named)):
        raise UserError(f"{name}: {found[-1]}: is no part of {found[0].name}; keep one download only")
    return found


def unpack(packed: Packed, parts: Sequence[Path], folder: Path) -> int:
    """Write the images of the Parquet files to `folder/images` and their text to the CSV file; the number of items.

    Raises UserError when a file cannot be read, is not the benchmark, or holds something that is no image.
    """
    problems = Problems(packed.name, strict=False)
    fields = list(packed.model.model_fields)
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(fields)
    count = 0
    for parquet in parts:
        rows = parquet_rows(parquet, fields, packed.name)
        for label, item in records(rows, packed.model, "items", parquet.name, problems):
            told = item.model_dump(exclude=set(packed.images))
            for name in packed.images:
                told[name] = f"{count}_{name}{packed.suffix}"
                place = f"{packed.name}: {parquet}: {label}: field {name}"
                write_picture(getattr(item, name), place, folder / "images" / told[name])
            writer.writerow([told[name] for name in fields])
            count += 1
    if not problems.frame().empty:
        raise UserError(f"{problems.summary()[0]}; download the file again")
    write_text(sheet.getvalue(), folder / packed.file)
    return count


def write_picture(picture: Picture, place: str, path: Path) -> None:
    """Write an image of a Parquet file to a file of its own. Raises UserError with its place when it is none."""
    if not _is_image(picture.content):
        raise UserError(f"{place}: is no image; download the file again")
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture.content)


def parquet_rows(path: Path, columns: Sequence[str], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a Parquet file, labelled from `row 0`; a few in memory at a time. Raises UserError when it is broken."""
    with reading(path, "download it again", name):
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            missing = [column for column in columns if column not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{name}: {path}: has no column {missing[0]}; this is not the published file")
            number = 0
            batches = file.iter_batches(_BATCH, columns=list(columns))
            for batch in track_blocks(batches, f"unpack {name}", file.metadata.num_rows):
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
        except (pa.ArrowException, OSError) as error:
            said = not_the_file(path) or "cannot be read as Parquet, or is cut off; download it again"
            raise UserError(f"{name}: {path}: {said}") from error


def _is_image(content: bytes) -> bool:
    """Whether the bytes begin as an image file does."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content)):
            return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
