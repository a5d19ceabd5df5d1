"""VSR, Visual Spatial Reasoning (Liu et al. 2023, arXiv:2205.00363): a COCO photograph and a true or false statement.

As published: `splits/random/` and `splits/zeroshot/` with `train.jsonl`, `dev.jsonl` and `test.jsonl`, each line with
`image`, `caption`, `label` (1 for true) and `relation`. A statement is called true when its score passes a threshold,
which is chosen on the dev split (`vsr_random_dev`) and used on the test split (`vsr_random`). Of the whole corpus,
`all_vsr_validated_data.jsonl`, which has no splits, one image in ten is taken for dev (`vsr_all_dev`).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, find_file, json_lines, records, require_file
from vialign.errors import UserError
from vialign.tables.data import DEVELOPMENT

SPLIT = "vsr"
PARTS = ("random", "zeroshot")
WHOLE = "all_vsr_validated_data.jsonl"
IMAGES_FROM = "the images are COCO train2017 and val2017, together in images/, or as links"
NOTE = SourceNote(
    title="VSR: Visual Spatial Reasoning",
    licence="Apache-2.0; the photographs of COCO belong to their authors (Flickr terms of use)",
    obtain=(
        f"data/splits/ of https://github.com/cambridgeltl/visual-spatial-reasoning; {IMAGES_FROM}. Without the splits "
        f"data/data_files/{WHOLE} is read, with every tenth image for the threshold."
    ),
    files=("random/{dev,test}.jsonl and zeroshot/{dev,test}.jsonl, or " + WHOLE, "images/ or trainval2017/"),
    expected={
        "vsr_random items": 2195,
        "vsr_random_dev items": 1097,
        "vsr_zeroshot items": 616,
        "vsr_zeroshot_dev items": 231,
    },
    measures="whether a spatial statement is told to be true or false, by a threshold chosen on the dev split",
    chance={"statement": 1 / 2},
    blind={
        "vsr_all": 0.505,
    },
)
TENTH = 10
"""Of so many images of a corpus without splits one is for the threshold."""


class _Item(Record):
    image: FileName
    caption: Text
    label: Literal[0, 1]
    relation: Text


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the statements whose photographs are there, as `read_tables`.

    Raises UserError too when a split has no dev statement left to choose the threshold on.
    """
    tables = read_tables(SPLIT, read_items, ("images", "trainval2017"), IMAGES_FROM, config, seed)
    require_development(tables.choices, SPLIT)
    return tables


def require_development(choices: pd.DataFrame, dataset: str) -> None:
    """Raises UserError when a benchmark of statements has none of them to choose its threshold on."""
    names = set(choices["benchmark"])
    for name in sorted(name for name in names if not name.endswith(DEVELOPMENT)):
        if name + DEVELOPMENT not in names:
            raise UserError(f"{dataset}: {name} has no dev statement whose image is there, so no threshold; add images")


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out; the tag is the relation.

    Raises UserError when there are neither splits nor the whole corpus, or a split lacks one of its files.
    """
    rows: list[dict[str, Any]] = []
    found = {part: paths for part in PARTS if (paths := _split_files(folder, part))}
    for part, paths in found.items():
        for name, path in paths.items():
            benchmark = f"{SPLIT}_{part}" + (DEVELOPMENT if name == "dev" else "")
            items = _items(path, f"{part}/{name}.jsonl", problems)
            rows += [_row(benchmark, f"{part}/{name}.jsonl", label, item) for label, item in items]
    if not found:
        path = require_file(folder, (WHOLE, f"data_files/{WHOLE}", f"data/data_files/{WHOLE}"), SPLIT)
        for label, item in _items(path, WHOLE, problems):
            benchmark = f"{SPLIT}_all" + (DEVELOPMENT if _tenth(item.image) else "")
            rows.append(_row(benchmark, WHOLE, label, item))
        problems.note(WHOLE, "", f"has no splits; one image in {TENTH} is for the threshold, so no published number")
    return item_frame(rows)


def _split_files(folder: Path, part: str) -> dict[str, Path]:
    """Dev and test file of a split, none when neither is there. Raises UserError when one is."""
    names = {
        name: [f"{place}{part}/{name}.jsonl" for place in ("", "splits/", "data/splits/")] for name in ("dev", "test")
    }
    paths = {name: path for name, places in names.items() if (path := find_file(folder, places)) is not None}
    missing = [name for name in names if name not in paths]
    if len(missing) == 1:
        raise UserError(f"{SPLIT}: {folder}: {part} has no {missing[0]}.jsonl; both files are needed (docs/data.md)")
    return paths


def _tenth(image: str) -> bool:
    return int(hashlib.sha256(image.encode()).hexdigest(), 16) % TENTH == 0


def _items(path: Path, file: str, problems: Problems) -> Iterator[tuple[str, _Item]]:
    return records(json_lines(path, SPLIT, problems), _Item, "items", file, problems)


def _row(benchmark: str, file: str, label: str, item: _Item) -> dict[str, Any]:
    return item_row(
        benchmark,
        SPLIT,
        place_of(label),
        [item.image],
        [item.caption],
        file=file,
        row=label,
        tag=item.relation,
        right=item.label,
    )
