"""TSV files of tens of gigabytes whose first column names an image: read line by line, or one line by its place."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from vialign.errors import UserError, not_the_file
from vialign.files.text import MARK
from vialign.progress import track

LINE_LIMIT = 64 * 2**20
"""Bytes of the longest line that is read; a hundred regions of VinVL take about one million."""

Places = Mapping[str, tuple[int, int]]
"""Line (from 1) and byte at which the row of each image starts."""


class Row(NamedTuple):
    """One line of a file."""

    path: Path
    number: int
    """Line, from 1."""
    offset: int
    """Byte at which the line starts."""
    cells: list[bytes]

    @property
    def place(self) -> str:
        """Where to look, for an error."""
        return f"{self.path}, line {self.number}"

    @property
    def image_id(self) -> str:
        """The first column. Raises UserError when it is not UTF-8."""
        try:
            return self.cells[0].decode()
        except UnicodeDecodeError:
            raise UserError(f"{self.place}, field image_id: is not UTF-8 text; this is no region TSV file") from None


def index_rows(path: Path) -> Places:
    """Where the row of each image starts; one pass over the file, of which only this is kept.

    Raises UserError when the file cannot be opened, a line is longer than `LINE_LIMIT`, or an image has two rows.
    """
    places: dict[str, tuple[int, int]] = {}
    for row in track(_lines(path), f"index {path.name}"):
        if row.image_id in places:
            line = places[row.image_id][0]
            raise UserError(f"{row.place}, field image_id: {row.image_id} is on line {line} too; remove one of them")
        places[row.image_id] = (row.number, row.offset)
    return places


def read_row(path: Path, places: Places, image_id: str) -> Row:
    """The row of one image, read from its own place. Raises UserError when there is none."""
    if image_id not in places:
        raise UserError(f"{path}: has no row of image {image_id}; it was not written for these images")
    number, offset = places[image_id]
    with path.open("rb") as file:
        file.seek(offset)
        line = file.readline(LINE_LIMIT)
        return Row(path, number, offset, _cells(line.removeprefix(MARK) if offset == 0 else line))


def _lines(path: Path) -> Iterator[Row]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); name a file with region features") from None
    instead = not_the_file(path)
    if instead is not None:
        raise UserError(f"{path}: {instead}")
    with file:
        number, offset = 0, 0
        while line := file.readline(LINE_LIMIT):
            number += 1
            if b"\r" in line.rstrip(b"\r\n"):
                raise UserError(f"{path}, line {number}: has a carriage return inside; end lines by newlines")
            if len(line) == LINE_LIMIT:
                raise UserError(f"{path}, line {number}: has {LINE_LIMIT} bytes or more; this is no region TSV file")
            if line.strip():
                yield Row(path, number, offset, _cells(line.removeprefix(MARK) if offset == 0 else line))
            offset += len(line)


def _cells(line: bytes) -> list[bytes]:
    return line.rstrip(b"\r\n").split(b"\t")
