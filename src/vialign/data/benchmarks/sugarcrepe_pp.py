"""SugarCrepe++ (Dumpala et al. 2024, arXiv:2406.11171): a COCO photograph with two right captions and a wrong one.

As published: five files `<kind>.json`, each a list of `{"id", "filename", "caption", "caption2", "negative_caption"}`;
the photographs are those of COCO val2017. `caption2` says in other words what `caption` says. Both must beat the wrong
caption: for the image (`both_right`), and without it, where the two right ones must be closer to each other than
either is to the wrong one (`text_only`).
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, part_files, read_tables
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records

SPLIT = "sugarcrepe_pp"
KINDS = ("replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
"""Stems of the published files; the benchmark of each is `sugarcrepe_pp_<stem>`."""
IMAGES_FROM = "the images are COCO val2017 (http://images.cocodataset.org/zips/val2017.zip)"
NOTE = SourceNote(
    title="SugarCrepe++",
    licence="MIT; the photographs of COCO belong to their authors (Flickr terms of use)",
    obtain=f"The files of data/ in https://github.com/Sri-Harsha/scpp; {IMAGES_FROM}.",
    files=tuple(f"{kind}.json" for kind in KINDS),
    expected={
        "sugarcrepe_pp_replace_att items": 788,
        "sugarcrepe_pp_replace_obj items": 1652,
        "sugarcrepe_pp_replace_rel items": 1406,
        "sugarcrepe_pp_swap_att items": 666,
        "sugarcrepe_pp_swap_obj items": 245,
    },
    measures="whether a caption and the same in other words both beat a caption that is wrong by a little",
    chance={"both_right": 1 / 3, "text_only": 1 / 3},
    blind={
        "sugarcrepe_pp_replace_att": 0.201,
        "sugarcrepe_pp_replace_obj": 0.197,
        "sugarcrepe_pp_replace_rel": 0.431,
        "sugarcrepe_pp_swap_att": 0.256,
        "sugarcrepe_pp_swap_obj": 0.237,
    },
)


class _Item(Record):
    id: Annotated[int, Field(ge=0)]
    filename: FileName
    caption: Text
    caption2: Text
    negative_caption: Text


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("val2017", "images"), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out; the tag is the stem of the file.

    A kind whose file is not there is noted. Raises UserError when there is none of them, or one is not JSON.
    """
    paths = part_files(folder, {kind: f"{kind}.json" for kind in KINDS}, "data", SPLIT, problems)
    rows: list[dict[str, Any]] = []
    for kind, path in paths.items():
        seen: set[int] = set()
        published = numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items")
        for label, item in records(published, _Item, "items", path.name, problems):
            if item.id in seen:
                problems.add("items", path.name, label, f"field id: {item.id} appears twice")
                continue
            seen.add(item.id)
            texts = [item.caption, item.caption2, item.negative_caption]
            rows.append(
                item_row(
                    f"{SPLIT}_{kind}",
                    SPLIT,
                    item.id,
                    [item.filename],
                    texts,
                    file=path.name,
                    row=label,
                    tag=kind,
                    right=2,
                )
            )
    return item_frame(rows)
