"""Winoground (Thrush et al. 2022, arXiv:2204.03162): two photographs and two captions of the same words.

As published: `examples.jsonl` with `id`, `image_0`, `image_1` (names without `.png`), `caption_0`, `caption_1`, `tag`,
`secondary_tag`, `num_main_preds` and `collapsed_tag`, and the photographs in `images/`. The hub's newer form is one
Parquet file that holds the photographs too; `unpack_parquet` makes the folder of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from vialign.artifacts import atomic_path, write_text
from vialign.config import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmark_items import ITEM_COLUMNS, FileName, Text, benchmark_tables, find_images
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    records,
    require_file,
    require_folder,
    text_lines,
)
from vialign.errors import UserError
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
    packed = find_parquet(folder)
    if packed is not None and find_file(folder, names) is None:
        raise UserError(
            f"winoground: {folder}: holds the images packed in {packed.name}; "
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


def find_parquet(folder: Path) -> Path | None:
    """The hub's Parquet file in a folder, or in `data/` of it, where there is one."""
    return next(iter(sorted([*folder.glob("test-*.parquet"), *folder.glob("data/test-*.parquet")])), None)


def unpack_parquet(parquet: Path, folder: Path) -> int:
    """Write the photographs of the hub's Parquet file to `folder/images` and its text to `folder/examples.jsonl`.

    The text is written last: a folder that has it is whole. Returns the number of items. Raises UserError when the
    file cannot be read, is not Winoground, or holds something that is no image.
    """
    problems = Problems("winoground", strict=False)
    lines = []
    examples = records(_parquet_rows(parquet), _ExampleWithPictures, "items", parquet.name, problems)
    for label, example in examples:
        names = {f"image_{place}": image_name(example.id, place) for place in (0, 1)}
        for (field, name), picture in zip(names.items(), (example.image_0, example.image_1), strict=True):
            if not _is_image(picture.content):
                raise UserError(f"winoground: {parquet}: {label}: field {field}: is no image; download the file again")
            with atomic_path(folder / "images" / f"{name}{SUFFIX}") as temporary:
                temporary.write_bytes(picture.content)
        text = example.model_dump(exclude={"image_0", "image_1"})
        lines.append(json.dumps({**text, **names}) + "\n")
    if not problems.frame().empty:
        raise UserError(f"{problems.summary()[0]}; download the file again")
    write_text("".join(lines), folder / EXAMPLES)
    return len(lines)


def _json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Rows of a file of JSON lines; a line that is no JSON is a problem, an empty one is passed over."""
    for number, line in text_lines(path, "winoground"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            problems.saw("items")
            problems.add("items", path.name, f"line {number}", "is not JSON; the file may be cut off")
            continue
        yield f"line {number}", row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = list(_ExampleWithPictures.model_fields)
    try:
        file = pq.ParquetFile(path)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise UserError(f"winoground: {path}: has no column {missing[0]}; this is not the published file")
        batches = file.iter_batches(_BATCH, columns=columns)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(track(rows, "unpack winoground", total=file.metadata.num_rows)):
            yield f"row {number}", row
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"winoground: {path}: cannot be read as Parquet ({reason}); download it again") from None


def _is_image(content: bytes) -> bool:
    """Whether the bytes begin as an image file does."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(content)):
            return True
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return False
