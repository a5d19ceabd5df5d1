"""MMVP-VLM (Tong et al. 2024, arXiv:2401.06209): pairs of images that CLIP takes for the same, with a statement each.

As published: `Questions.csv` with `Question ID`, `Type` and `Statement`, two rows a pair, and the images
`<folder>/<Type>/<Question ID>.jpg`. A text is `a photo of <statement>`, as in the authors' program, and the score is
`image`: each statement prefers its own image.
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import PAIRS_CHANCE, FileName, Text, item_frame, item_row, read_tables
from vialign.data.published_files import Record, SourceNote, csv_rows, records, require_file

SPLIT = "mmvp_vlm"
FILE = "Questions.csv"
FOLDERS = ("MLLM_VLM Images", "MMVP_VLM_Images", "images")
PROMPT = "a photo of {}"
IMAGES_FROM = "the images come with https://huggingface.co/datasets/MMVP/MMVP_VLM"
NOTE = SourceNote(
    title="MMVP-VLM",
    licence="MIT",
    obtain=f"Download https://huggingface.co/datasets/MMVP/MMVP_VLM; {IMAGES_FROM}.",
    files=(FILE, " or ".join(f"{name}/" for name in FOLDERS)),
    expected={"mmvp_vlm items": 135, "images": 270},
    measures="nine visual patterns that CLIP is blind to; its own score is `image`: each statement prefers its image",
    chance=PAIRS_CHANCE,
)


class _Row(Record):
    number: Annotated[int, Field(alias="Question ID", ge=1, lt=10**9)]
    type: Annotated[FileName, Field(alias="Type", min_length=1)]
    statement: Annotated[Text, Field(alias="Statement")]


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the pairs whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, FOLDERS, IMAGES_FROM, config, seed, ".jpg")


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What `Questions.csv` says (`ITEM_COLUMNS`), broken rows left out; the tag is the visual pattern.

    The rows of numbers 2n - 1 and 2n are a pair; one without the other is a problem. Raises UserError when the file is
    missing or no CSV.
    """
    path = require_file(folder, (FILE,), SPLIT)
    columns = ["Question ID", "Type", "Statement"]
    pairs: dict[int, dict[int, tuple[str, _Row]]] = {}
    for label, row in records(csv_rows(path, columns, SPLIT), _Row, "items", path.name, problems):
        pair = pairs.setdefault((row.number - 1) // 2, {})
        if row.number in pair:
            problems.add("items", path.name, label, f"field Question ID: {row.number} appears twice")
            continue
        pair[row.number] = label, row
    rows: list[dict[str, Any]] = []
    for number, pair in sorted(pairs.items()):
        if len(pair) == 1:
            (label, row), *_ = pair.values()
            problems.add("items", path.name, label, f"field Question ID: {row.number} has no second row for its pair")
            continue
        (label, first), (_, second) = (pair[place] for place in sorted(pair))
        images = [f"{row.type}/{row.number}" for row in (first, second)]
        texts = [PROMPT.format(row.statement) for row in (first, second)]
        rows.append(item_row(SPLIT, SPLIT, number, images, texts, file=path.name, row=label, tag=first.type))
    return item_frame(rows)
