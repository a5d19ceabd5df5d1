"""ColorSwap (Burapacheep et al. 2024, arXiv:2402.04492): two images, and two captions with their colours exchanged.

As published: `test.json` (and `train.json`, which is for training), a list of `{"id", "caption_1", "caption_2",
"image_1", "image_2", "image_source", "caption_source"}`, the images in `images/`. Of the hub's Parquet form
`vialign data unpack colorswap FOLDER` makes `test.csv` and the same folder of images.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import PAIRS_CHANCE, FileName, Text, item_frame, item_row, place_of, read_tables
from vialign.data.benchmarks.packed import Packed, Picture, require_unpacked
from vialign.data.published_files import (
    Record,
    SourceNote,
    csv_rows,
    find_file,
    json_list,
    numbered,
    read_json,
    records,
)

SPLIT = "colorswap"
FILE = "test.json"
UNPACKED = "test.csv"
IMAGES_FROM = "the images lie in the data set's images.zip, or packed in its Parquet files"
NOTE = SourceNote(
    title="ColorSwap",
    licence="MIT",
    obtain=(
        "Take the archive that https://github.com/Top34051/colorswap names and unpack its images.zip, or accept the "
        "conditions of https://huggingface.co/datasets/stanfordnlp/colorswap and run `vialign data unpack colorswap "
        "FOLDER`."
    ),
    files=(f"{FILE} or {UNPACKED}", "images/"),
    expected={"colorswap items": 300, "images": 600},
    measures="whether colours are bound to the right things, in the form of Winoground",
    chance=PAIRS_CHANCE,
)


class _Said(Record):
    caption_1: Text
    caption_2: Text
    image_source: str = ""


class _Item(_Said):
    image_1: FileName
    image_2: FileName


class _PackedItem(_Said):
    image_1: Picture
    image_2: Picture


PACKED = Packed(SPLIT, UNPACKED, _PackedItem, ("image_1", "image_2"), ".png")


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the file of the test split says (`ITEM_COLUMNS`), broken rows left out; the tag is the images' source.

    Raises UserError when the file is missing, still packed or not JSON.
    """
    path = find_file(folder, (FILE, f"data/{FILE}"))
    if path is None:
        path = require_unpacked(folder, PACKED)
        labelled = [
            (label, {**row, **{name: f"images/{row[name]}" for name in PACKED.images if name in row}})
            for label, row in csv_rows(path, ["caption_1", "caption_2", *PACKED.images], SPLIT)
        ]
    else:
        labelled = list(numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items"))
    rows: list[dict[str, Any]] = []
    for label, item in records(labelled, _Item, "items", path.name, problems):
        images, texts = [item.image_1, item.image_2], [item.caption_1, item.caption_2]
        rows.append(
            item_row(SPLIT, SPLIT, place_of(label), images, texts, file=path.name, row=label, tag=item.image_source)
        )
    return item_frame(rows)
