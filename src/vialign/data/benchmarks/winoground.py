"""Winoground (Thrush et al. 2022, arXiv:2204.03162): two photographs and two captions of the same words.

As published: `examples.jsonl` with `id`, `image_0`, `image_1` (names without `.png`), `caption_0`, `caption_1`, `tag`,
`secondary_tag`, `num_main_preds` and `collapsed_tag`, and the photographs in `images/`. The hub's newer form is one
Parquet file that holds the photographs too; `unpack_parquet` makes the folder of it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import PAIRS_CHANCE, FileName, Text, item_frame, item_row, read_tables
from vialign.data.benchmarks.packed import Picture, find_parquet, parquet_rows, write_picture
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    json_lines,
    records,
    require_file,
)
from vialign.errors import UserError
from vialign.files.artifacts import write_text

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
    measures="whether two captions of the same words are matched with the right one of two photographs",
    chance=PAIRS_CHANCE,
)


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


class _ExampleWithPictures(_Example):
    image_0: Picture
    image_1: Picture


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there.

    Raises UserError when files are missing or still packed, and at the first broken row when `config.strict`.
    """
    return read_tables(SPLIT, read_items, ("images", "data/images"), IMAGES_FROM, config, seed, SUFFIX)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What `examples.jsonl` says (`ITEM_COLUMNS`), broken rows left out; the tag is `collapsed_tag`.

    Caption j is true of image j. Raises UserError when the file is missing or not text.
    """
    names = (EXAMPLES, f"data/{EXAMPLES}")
    unpacked = find_file(folder, names)
    packed = [] if unpacked is not None else find_parquet(folder, "winoground")
    if packed:
        raise UserError(
            f"winoground: {folder}: holds the images packed in {packed[0].name}; "
            f"run `vialign data unpack winoground {folder}`"
        )
    path = require_file(folder, names, "winoground")
    seen: set[int] = set()
    rows: list[dict[str, Any]] = []
    lines = json_lines(path, "winoground", problems)
    for label, example in records(lines, _ExampleOfFiles, "items", path.name, problems):
        if example.id in seen:
            problems.add("items", path.name, label, f"id {example.id} appears twice")
            continue
        seen.add(example.id)
        images, texts = [example.image_0, example.image_1], [example.caption_0, example.caption_1]
        rows.append(
            item_row(
                "winoground", SPLIT, example.id, images, texts, file=path.name, row=label, tag=example.collapsed_tag
            )
        )
    return item_frame(rows)


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


def unpack_parquet(parts: Sequence[Path], folder: Path) -> int:
    """Write the photographs of the hub's Parquet files to `folder/images` and their text to `folder/examples.jsonl`.

    The text is written last: a folder that has it is whole. Returns the number of items. Raises UserError when a file
    cannot be read, is not Winoground, or holds an id that was there before or something that is no image.
    """
    problems = Problems("winoground", strict=False)
    lines: list[str] = []
    seen: dict[int, str] = {}
    columns = list(_ExampleWithPictures.model_fields)
    for parquet in parts:
        packed = parquet_rows(parquet, columns, "winoground")
        for label, example in records(packed, _ExampleWithPictures, "items", parquet.name, problems):
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
        write_picture(picture, f"winoground: {parquet}: {label}: field {field}", folder / "images" / f"{name}{SUFFIX}")
    text = example.model_dump(exclude={"image_0", "image_1"})
    return json.dumps({**text, **names}) + "\n"
