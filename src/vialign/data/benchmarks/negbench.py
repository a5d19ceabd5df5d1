"""NegBench (Alhamoud et al. 2025, arXiv:2501.09425): which of four captions is true, where some of them negate.

As published: `COCO_val_mcq_llama3.1_rephrased.csv`, `VOC2007_mcq_llama3.1_rephrased.csv` and
`synthetic_mcq_llama3.1_rephrased.csv` with `image_path`, `correct_answer` (0 to 3), `caption_0` to `caption_3` and
`correct_answer_template` (`positive`, `negative` or `hybrid`). The paths are those of the authors' machines, so an
image is looked for by its file name. The files for retrieval, videos and chest X-rays are not read.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, part_files, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, csv_rows, records

SPLIT = "negbench"
FILES = {
    "negbench_coco": "COCO_val_mcq_llama3.1_rephrased.csv",
    "negbench_voc2007": "VOC2007_mcq_llama3.1_rephrased.csv",
    "negbench_synthetic": "synthetic_mcq_llama3.1_rephrased.csv",
}
"""Benchmark to its published file."""
IMAGES_FROM = "the images (COCO val2017, VOC2007 test, the synthetic ones) lie together in images/, or as links"
NOTE = SourceNote(
    title="NegBench: multiple choice with negation",
    licence="MIT; the photographs under the terms of COCO and PASCAL VOC",
    obtain=f"https://github.com/m1k2zoo/negbench links a folder with the CSV files; {IMAGES_FROM}.",
    files=(*FILES.values(), "images/"),
    expected={"negbench_coco items": 5914, "negbench_voc2007 items": 5031},
    measures="whether what is not there is told from what is, among four captions of which some negate",
    chance={"accuracy": 1 / 4},
)


class _Item(Record):
    image_path: FileName
    correct_answer: Annotated[int, Field(ge=0, le=3)]
    caption_0: Text
    caption_1: Text
    caption_2: Text
    caption_3: Text
    correct_answer_template: Text


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the CSV files say (`ITEM_COLUMNS`), broken rows left out; the tag is the template of the right caption.

    A part whose file is not there is noted. Raises UserError when there is none of them, or one is no CSV.
    """
    paths = part_files(folder, FILES, "images", SPLIT, problems)
    rows: list[dict[str, Any]] = []
    for benchmark, path in paths.items():
        published = csv_rows(path, list(_Item.model_fields), SPLIT)
        for label, item in records(published, _Item, "items", path.name, problems):
            image = PurePosixPath(item.image_path).name
            if not image:
                problems.add("items", path.name, label, "field image_path: names no file")
                continue
            captions = [item.caption_0, item.caption_1, item.caption_2, item.caption_3]
            texts = [captions.pop(item.correct_answer), *captions]
            rows.append(
                item_row(
                    benchmark,
                    SPLIT,
                    place_of(label),
                    [image],
                    texts,
                    file=path.name,
                    row=label,
                    tag=item.correct_answer_template,
                )
            )
    return item_frame(rows)
