"""Winoground (Thrush et al. 2022, arXiv:2204.03162): two photographs and two captions of the same words.

As published: `examples.jsonl` with `id`, `image_0`, `image_1` (names without `.png`), `caption_0`, `caption_1`, `tag`,
`secondary_tag`, `num_main_preds` and `collapsed_tag`, and the photographs in `images/`. The hub's newer form is one
Parquet file that holds the photographs too; `unpack_parquet` makes the folder of it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import ITEM_COLUMNS, FileName, Text, benchmark_tables, find_images
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    records,
    require_file,
    require_folder,
    text_lines,
)
from vialign.errors import UserError, not_the_file, reading
from vialign.files.artifacts import atomic_path, write_text
from vialign.files.text import NotJson, parse_json
from vialign.progress import track

SPLIT = "winoground"
EXAMPLES = "examples.jsonl"
SUFFIX = ".png"
IMAGES_FROM = "the images come with https://huggingface.co/datasets/facebook/winoground"
NOTE = SourceNote(
    title="Winoground",
    licence="research use only, under the licence in the data set's files; the photographs belong to Getty Images",
    obtain=(
        "Accept the conditions of https://huggingface.co/datasets/facebook/winoground and download it; of its Parquet "
        "form `vialign data unpack winoground FOLDER` makes the folder."
    ),
    files=(EXAMPLES, "images/"),
    expected={"winoground items": 400, "images": 800},
)

_PART = re.compile(r"test-(\d{5})-of-(\d{5})")
"""How the hub names the parts of a split, from 0."""
_BATCH = 8
"""Rows of the Parquet file in memory at a time; each holds two photographs of about half a megabyte."""


class _Example(Record):
    id: Annotated[int, Field(ge=0)]
    caption_0: Text
    caption_1: Text
    tag: str | None = None
    secondary_tag: str | None = None
    num_main_preds: int | None = None
    collapsed_tag: Text


class _ExampleOfFiles(_Example):
    image_0: FileName
    image_1: FileName


class _Picture(Record):
    content: bytes = Field(alias="bytes", min_length=1)


class _ExampleWithPictures(_Example):
    image_0: _Picture
    image_1: _Picture


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there.

    Raises UserError when files are missing or still packed, and at the first broken row when `config.strict`.
    """
    folder = require_folder(config.folder, SPLIT, f"data.benchmarks.{SPLIT}.folder")
    problems = Problems(SPLIT, config.strict, f"data.benchmarks.{SPLIT}.strict", config.tolerance)
    items = read_items(folder, problems)
    files = find_images(config, SPLIT, ("images", "data/images"), IMAGES_FROM, SUFFIX)
    return benchmark_tables(items, files, config, seed, problems)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What `examples.jsonl` says (`ITEM_COLUMNS`), broken rows left out; the tag is `collapsed_tag`.

    Caption j is true of image j. Raises UserError when the file is missing or not text.
    """
    names = (EXAMPLES, f"data/{EXAMPLES}")
    unpacked = find_file(folder, names)
    packed = [] if unpacked is not None else find_parquet(folder)
    if packed:
        raise UserError(
            f"winoground: {folder}: holds the images packed in {packed[0].name}; "
            f"run `vialign data unpack winoground {folder}`"
        )
    path = require_file(folder, names, "winoground")
    seen: set[int] = set()
    rows: list[dict[str, Any]] = []
    for label, example in records(_json_lines(path, problems), _ExampleOfFiles, "items", path.name, problems):
        if example.id in seen:
            problems.add("items", path.name, label, f"id {example.id} appears twice")
            continue
        seen.add(example.id)
        rows.append(
            {
                "item_id": f"winoground/{SPLIT}/{example.id}",
                "benchmark": "winoground",
                "split": SPLIT,
                "tag": example.collapsed_tag,
                "images": [example.image_0, example.image_1],
                "texts": [example.caption_0, example.caption_1],
                "crop": [],
                "file": path.name,
                "row": label,
            }
        )
    return pd.DataFrame(rows, columns=list(ITEM_COLUMNS))


def image_name(number: int, place: int) -> str:
    """The published name of the first (0) or second (1) image of an item, without `.png`."""
    return f"ex_{number}_img_{place}"


def write_published(choices: Sequence[Mapping[str, Any]], files: Mapping[str, str], folder: Path) -> None:
    """Write CHOICES rows as the published `examples.jsonl`; the item's number is the end of its id.

    `files` gives the file of every image id, which ends in `.png`. Raises ValueError for an item that the form cannot
    hold.
    """
    lines = []
    for choice in choices:
        names = [files[image_id] for image_id in choice["images"]]
        if len(names) != 2 or len(choice["texts"]) != 2 or not all(name.endswith(SUFFIX) for name in names):
            raise ValueError(f"{choice['item_id']}: is not two {SUFFIX} images with two captions")
        example = {
            "id": int(str(choice["item_id"]).rsplit("/", 1)[-1]),
            "image_0": names[0].removesuffix(SUFFIX),
            "image_1": names[1].removesuffix(SUFFIX),
            "caption_0": choice["texts"][0],
            "caption_1": choice["texts"][1],
            "collapsed_tag": choice["tag"],
        }
        lines.append(json.dumps(example) + "\n")
    write_text("".join(lines), folder / EXAMPLES)


def find_parquet(folder: Path) -> list[Path]:
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
            raise UserError(f"winoground: {path}: does not go with {other.name}; keep the parts of one download only")
        parts[number] = path
    missing = [number for number in range(int(named[0][1][2]) if named else 0) if number not in parts]
    if missing:
        name = f"test-{missing[0]:05d}-of-{int(named[0][1][2]):05d}"
        raise UserError(
            f"winoground: {named[0][0].parent}: {len(missing)} of {int(named[0][1][2])} parts of the data set are "
            f"missing, the first of them {name}-*.parquet; download it too"
        )
    if len(found) > max(1, len(named)):
        raise UserError(f"winoground: {found[-1]}: is no part of {found[0].name}; keep one download only")
    return found


def unpack_parquet(parts: Sequence[Path], folder: Path) -> int:
    """Write the photographs of the hub's Parquet files to `folder/images` and their text to `folder/examples.jsonl`.

    The text is written last: a folder that has it is whole. Returns the number of items. Raises UserError when a file
    cannot be read, is not Winoground, or holds an id that was there before or something that is no image.
    """
    problems = Problems("winoground", strict=False)
    lines: list[str] = []
    seen: dict[int, str] = {}
    for parquet in parts:
        examples = records(_parquet_rows(parquet), _ExampleWithPictures, "items", parquet.name, problems)
        for label, example in examples:
            place = f"{parquet.name}, {label}"
            if example.id in seen:
                raise UserError(
                    f"winoground: {parquet}: {label}: field id: {example.id} is that of {seen[example.id]} too, and "
                    "its photographs would take the place of those; download the files again"
                )
            seen[example.id] = place
            lines.append(_unpack(example, parquet, label, folder))
    if not problems.frame().empty:
        raise UserError(f"{problems.summary()[0]}; download the file again")
    write_text("".join(lines), folder / EXAMPLES)
    return len(lines)


def _unpack(example: _ExampleWithPictures, parquet: Path, label: str, folder: Path) -> str:
    """Write the photographs of an item; its line of `examples.jsonl`."""
    names = {f"image_{place}": image_name(example.id, place) for place in (0, 1)}
    for (field, name), picture in zip(names.items(), (example.image_0, example.image_1), strict=True):
        if not _is_image(picture.content):
            raise UserError(f"winoground: {parquet}: {label}: field {field}: is no image; download the file again")
        with atomic_path(folder / "images" / f"{name}{SUFFIX}") as temporary:
            temporary.write_bytes(picture.content)
    text = example.model_dump(exclude={"image_0", "image_1"})
    return json.dumps({**text, **names}) + "\n"


def _json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Rows of a file of JSON lines; a line that is no JSON is a problem, an empty one is passed over."""
    for number, line in text_lines(path, "winoground"):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            problems.saw("items")
            problems.add("items", path.name, f"line {number}", f"{error}; the file may be cut off")
            continue
        yield f"line {number}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = list(_ExampleWithPictures.model_fields)
    with reading(path, "download it again", "winoground"):
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise UserError(f"winoground: {path}: has no column {missing[0]}; this is not the published file")
            number = 0
            for batch in track(file.iter_batches(_BATCH, columns=columns), "unpack winoground", total=_batches(file)):
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
        except (pa.ArrowException, OSError) as error:
            said = not_the_file(path) or "cannot be read as Parquet, or is cut off; download it again"
            raise UserError(f"winoground: {path}: {said}") from error


def _batches(file: pq.ParquetFile) -> int:
    return -(-file.metadata.num_rows // _BATCH)


def _is_image(content: bytes) -> bool:
    """Whether the bytes begin as an image file does."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content)):
            return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
