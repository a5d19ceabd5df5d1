"""SugarCrepe (Hsieh et al. 2023, arXiv:2306.14610): a COCO photograph, its caption, and one that is wrong by a little.

As published: seven files `<kind>.json`, each `{"0": {"filename", "caption", "negative_caption"}, ...}`; the photographs
are those of COCO val2017.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import StringConstraints

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, part_files, read_tables
from vialign.data.published_files import Record, SourceNote, json_object, read_json, records
from vialign.files.text import read_text

SPLIT = "sugarcrepe"
KINDS = ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj")
"""Stems of the published files; the benchmark of each is `sugarcrepe_<stem>`."""
IMAGES_FROM = "the images are COCO val2017 (http://images.cocodataset.org/zips/val2017.zip)"
NOTE = SourceNote(
    title="SugarCrepe",
    licence="MIT; the photographs of COCO belong to their authors (Flickr terms of use)",
    obtain=f"The files of data/ in https://github.com/RAIVNLab/sugar-crepe; {IMAGES_FROM}.",
    files=tuple(f"{kind}.json" for kind in KINDS),
    expected={
        "sugarcrepe_add_att items": 692,
        "sugarcrepe_add_obj items": 2062,
        "sugarcrepe_replace_att items": 788,
        "sugarcrepe_replace_obj items": 1652,
        "sugarcrepe_replace_rel items": 1406,
        "sugarcrepe_swap_att items": 666,
        "sugarcrepe_swap_obj items": 245,
    },
    measures="whether a caption beats one in which an object, attribute or relation was added, replaced or swapped",
    chance={"accuracy": 1 / 2},
    blind={
        "sugarcrepe_add_att": 0.564,
        "sugarcrepe_add_obj": 0.572,
        "sugarcrepe_replace_att": 0.484,
        "sugarcrepe_replace_obj": 0.46,
        "sugarcrepe_replace_rel": 0.624,
        "sugarcrepe_swap_att": 0.516,
        "sugarcrepe_swap_obj": 0.512,
    },
)
VERSIONED = "swap_obj"
VERSIONS = {
    245: "the version of the authors' repository; that of their paper has 246, so its average differs a little",
    246: "the version of the paper; the authors' repository now has 245, so its average differs a little",
}
"""Items of `swap_obj` to what is said of them: SugarCrepe is handed around in two versions."""


class _Item(Record):
    key: Annotated[str, StringConstraints(pattern="^[0-9]+$")]
    filename: FileName
    caption: Text
    negative_caption: Text


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there.

    Raises UserError when files are missing, and at the first broken row when `config.strict`.
    """
    return read_tables(SPLIT, read_items, ("val2017", "images"), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out; the tag is the stem of the file.

    A kind whose file is not there is noted. Raises UserError when there is none of them, or one is not JSON.
    """
    paths = part_files(folder, {kind: f"{kind}.json" for kind in KINDS}, "data", "sugarcrepe", problems)
    rows: list[dict[str, Any]] = []
    for kind, path in paths.items():
        published = json_object(read_json(path, "sugarcrepe", unique=False), path, "sugarcrepe")
        for key, again in _repeated_keys(path).items():
            for _ in range(again):
                problems.saw("items")
                problems.add("items", path.name, json.dumps(key), "appears twice; the last one is read")
        keyed = [
            (json.dumps(key), {**item, "key": key} if isinstance(item, dict) else item)
            for key, item in published.items()
        ]
        for label, item in records(keyed, _Item, "items", path.name, problems):
            texts = [item.caption, item.negative_caption]
            rows.append(
                item_row(
                    f"sugarcrepe_{kind}", SPLIT, item.key, [item.filename], texts, file=path.name, row=label, tag=kind
                )
            )
        if kind == VERSIONED and len(published) in VERSIONS:
            problems.note(path.name, "", f"has {len(published)} items: {VERSIONS[len(published)]}")
    return item_frame(rows)


def _repeated_keys(path: Path) -> dict[str, int]:
    """How often too much every key of the object in a JSON file stands there; JSON readers keep the last one."""
    pairs: Iterable[tuple[str, Any]] = json.loads(read_text(path), object_pairs_hook=list)
    return {key: count - 1 for key, count in Counter(key for key, _ in pairs).items() if count > 1}
