"""COLA, the setting with several objects (Ray et al. 2023, arXiv:2305.03689): two photographs and two captions.

As published: `COLA_multiobjects_matching_benchmark.json`, a list of `[image, caption, image, caption]`, where an image
is a link that ends in the file name of Visual Genome. Its own score is `image`: each caption prefers its own image.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import (
    PAIRS_CHANCE,
    FileName,
    Text,
    item_frame,
    item_row,
    place_of,
    read_tables,
)
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records, require_file

SPLIT = "cola"
FILE = "COLA_multiobjects_matching_benchmark.json"
IMAGES_FROM = (
    "the images are those of Visual Genome (https://homes.cs.washington.edu/~ranjay/visualgenome), named by number"
)
NOTE = SourceNote(
    title="COLA, multi-object setting",
    licence="MIT; the photographs are of Visual Genome (CC BY 4.0)",
    obtain=f"data/{FILE} in https://github.com/arijitray1993/COLA; {IMAGES_FROM}.",
    files=(FILE, "vg_gqa_images/ or images/"),
    expected={"cola items": 210, "images": 218},
    measures="whether attributes are bound to their objects; its own score is `image`: each caption prefers its image",
    chance=PAIRS_CHANCE,
)


class _Item(Record):
    item: tuple[FileName, Text, FileName, Text]


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("vg_gqa_images", "images"), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation file says (`ITEM_COLUMNS`), broken rows left out.

    Raises UserError when it is missing or not JSON.
    """
    path = require_file(folder, (FILE, f"data/{FILE}"), SPLIT)
    published = numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items")
    rows: list[dict[str, Any]] = []
    labelled = [(label, {"item": row}) for label, row in published]
    for label, found in records(labelled, _Item, "items", path.name, problems):
        first, caption, second, other = found.item
        images = [PurePosixPath(name).name for name in (first, second)]
        if "" in images:
            problems.add("items", path.name, label, "field item: an image has no file name")
            continue
        rows.append(item_row(SPLIT, SPLIT, place_of(label), images, [caption, other], file=path.name, row=label))
    return item_frame(rows)
