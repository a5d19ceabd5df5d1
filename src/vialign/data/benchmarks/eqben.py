"""EqBen (Wang et al. 2023, arXiv:2303.14465): two images that differ by little, and the caption of each.

As published: `eqben_subset_10percent_final.json`, the open tenth, or `private_info_global.json`, all of it: a list of
`{"image0", "image1", "caption0", "caption1"}` in the form of Winoground, whose images lie in `image_subset/` or
`image/`. The part of an item (`eqbenag`, `eqbenkubric_loc`, ...) is the first folder of its image. YouCook2's frames
are published as NumPy arrays, which are no images: those items are left out and counted.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import PAIRS_CHANCE, FileName, Text, item_frame, item_row, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records, require_file

SPLIT = "eqben"
FILES = ("eqben_subset_10percent_final.json", "private_info_global.json", "all_select.json")
ARRAY = ".npy"
IMAGES_FROM = "the images come in the archive beside the annotation file (subset_image.tar.gz)"
NOTE = SourceNote(
    title="EqBen",
    licence="Apache-2.0; the frames under the terms of Action Genome, GEBC and YouCook2",
    obtain=(
        "https://github.com/Wangt-CN/EqBen links the open tenth (about 25,000 image-text pairs) and the whole, "
        f"251,048 items, of which 45,849 are of YouCook2 and left out; {IMAGES_FROM}."
    ),
    files=(" or ".join(FILES), "image_subset/ or image/ or images/"),
    measures="whether scores follow a small change of the image as they follow that of the caption",
    chance=PAIRS_CHANCE,
)


def _first(value: Any) -> Any:
    """A caption, or the first of a list of them, as the authors take it."""
    return value[0] if isinstance(value, list) and value else value


Caption = Annotated[Text, BeforeValidator(_first)]


class _Item(Record):
    image0: FileName
    image1: FileName
    caption0: Caption
    caption1: Caption


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("image_subset", "image", "images"), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation file says (`ITEM_COLUMNS`), broken rows left out; the tag is the part.

    Raises UserError when it is missing or not JSON.
    """
    path = require_file(folder, FILES, SPLIT)
    published = numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items")
    rows: list[dict[str, Any]] = []
    arrays = 0
    for label, item in records(published, _Item, "items", path.name, problems):
        if ARRAY in (PurePosixPath(item.image0).suffix, PurePosixPath(item.image1).suffix):
            arrays += 1
            continue
        parts = PurePosixPath(item.image0).parts
        images, texts = [item.image0, item.image1], [item.caption0, item.caption1]
        rows.append(
            item_row(
                SPLIT,
                SPLIT,
                place_of(label),
                images,
                texts,
                file=path.name,
                row=label,
                tag=parts[0] if len(parts) > 1 else "",
            )
        )
    if arrays:
        problems.note(path.name, "", f"{arrays} items show NumPy arrays ({ARRAY}), which are no images; left out")
    return item_frame(rows)
