"""SVO-Probes (Hendricks and Nematzadeh 2021, arXiv:2106.09141): a sentence, an image that it describes, and one that
differs in subject, verb or object.

As published: `svo_probes.csv` with `sentence`, `pos_triplet`, `neg_triplet`, `pos_url`, `neg_url`, `pos_image_id`,
`neg_image_id`, `subj_neg`, `verb_neg` and `obj_neg`; the images are to be fetched by their links, and lie here as
`images/<id>.jpg`. The sentence must prefer its own image (`image_choice`); the paper asks a classifier of both pairs
instead, which a similarity without a threshold is not.
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import Text, item_frame, item_row, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, csv_rows, records, require_file

SPLIT = "svo_probes"
FILE = "svo_probes.csv"
KINDS = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}
"""Column to what differs in the wrong image."""
IMAGES_FROM = "the images are fetched by the links in the file, as far as they still live, and lie as images/<id>.jpg"
NOTE = SourceNote(
    title="SVO-Probes",
    licence="CC BY 4.0; the images belong to their authors",
    obtain=f"{FILE} in https://github.com/google-deepmind/svo_probes; {IMAGES_FROM}.",
    files=(FILE, "images/"),
    expected={"svo_probes items": 36841, "images": 14102},
    measures="whether a sentence prefers its image to one with another subject, verb or object",
    chance={"image_choice": 1 / 2},
)

Number = Annotated[int, Field(ge=0, lt=10**12)]


class _Item(Record):
    sentence: Text
    pos_image_id: Number
    neg_image_id: Number
    subj_neg: bool
    verb_neg: bool
    obj_neg: bool


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose images are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed, ".jpg")


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What `svo_probes.csv` says (`ITEM_COLUMNS`), broken rows left out; the tag is what differs (`KINDS`).

    Raises UserError when the file is missing or no CSV.
    """
    path = require_file(folder, (FILE,), SPLIT)
    rows: list[dict[str, Any]] = []
    for label, item in records(csv_rows(path, list(_Item.model_fields), SPLIT), _Item, "items", path.name, problems):
        kinds = [kind for column, kind in KINDS.items() if getattr(item, column)]
        if len(kinds) != 1:
            problems.add("items", path.name, label, "fields subj_neg, verb_neg, obj_neg: not one of them is true")
            continue
        images = [str(item.pos_image_id), str(item.neg_image_id)]
        rows.append(
            item_row(SPLIT, SPLIT, place_of(label), images, [item.sentence], file=path.name, row=label, tag=kinds[0])
        )
    return item_frame(rows)
