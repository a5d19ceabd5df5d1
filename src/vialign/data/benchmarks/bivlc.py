"""BiVLC (Miranda et al. 2024, arXiv:2406.09952): SugarCrepe's wrong captions, each with an image of its own.

As published: Parquet files `test-*.parquet` with `image`, `caption`, `negative_caption`, `negative_image`, `type` and
`subtype`; `vialign data unpack bivlc FOLDER` makes of them `bivlc.csv`, with the names of the images, and `images/`.
Both directions are asked: `text` (I2T: each image prefers its own caption), `image` (T2I) and `group`.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import PAIRS_CHANCE, FileName, Text, item_frame, item_row, place_of, read_tables
from vialign.data.benchmarks.packed import Packed, Picture, require_unpacked
from vialign.data.published_files import Record, SourceNote, csv_rows, records

SPLIT = "bivlc"
FILE = "bivlc.csv"
IMAGES_FROM = "the images are packed in the data set's Parquet files; run `vialign data unpack bivlc FOLDER`"
NOTE = SourceNote(
    title="BiVLC: bidirectional vision-language compositionality",
    licence="MIT; the photographs of COCO belong to their authors (Flickr terms of use)",
    obtain=(
        "Download https://huggingface.co/datasets/imirandam/BiVLC; `vialign data unpack bivlc FOLDER` makes the folder "
        "of its Parquet files."
    ),
    files=(FILE, "images/"),
    expected={"bivlc items": 2933},
    measures="both directions of choice between a caption with its photograph and a wrong one with its own",
    chance=PAIRS_CHANCE,
)


class _Said(Record):
    caption: Text
    negative_caption: Text
    type: Text
    subtype: Text


class _Item(_Said):
    image: FileName
    negative_image: FileName


class _PackedItem(_Said):
    image: Picture
    negative_image: Picture


PACKED = Packed(SPLIT, FILE, _PackedItem, ("image", "negative_image"), ".jpg")


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What `bivlc.csv` says (`ITEM_COLUMNS`), broken rows left out; the tag is `<type>_<subtype>`, such as `swap_att`.

    Raises UserError when the file is missing or still packed.
    """
    path = require_unpacked(folder, PACKED)
    rows: list[dict[str, Any]] = []
    for label, item in records(csv_rows(path, list(_Item.model_fields), SPLIT), _Item, "items", path.name, problems):
        images, texts = [item.image, item.negative_image], [item.caption, item.negative_caption]
        tag = f"{item.type}_{item.subtype}"
        rows.append(item_row(SPLIT, SPLIT, place_of(label), images, texts, file=path.name, row=label, tag=tag))
    return item_frame(rows)
