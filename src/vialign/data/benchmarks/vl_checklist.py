"""VL-CheckList (Zhao et al. 2022, arXiv:2207.00221): Visual Genome photographs with a true and a wrong phrase.

As published: JSON lists of `[image, {"POS": [...], "NEG": [...]}]`, where `NEG[i]` is `POS[i]` made wrong; the score is
the share of pairs whose true phrase scores higher. Every `*.json` of the folder is read.
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, model_validator

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records
from vialign.errors import UserError

SPLIT = "vl_checklist"
IMAGES_FROM = "the images are those of Visual Genome (https://homes.cs.washington.edu/~ranjay/visualgenome), VG_100K*"
NOTE = SourceNote(
    title="VL-CheckList",
    licence="the repository names none; Visual Genome is CC BY 4.0",
    obtain=(
        "Put the files that are wanted of data/ in https://github.com/om-ai-lab/VL-CheckList into one folder, such as "
        f"Relation/vg/spatial.json and Attribute/vg/color.json; {IMAGES_FROM}."
    ),
    files=("spatial.json, color.json, ...",),
    expected={"vl_checklist_spatial items": 30650, "vl_checklist_color items": 11569},
    measures="whether a phrase beats the same with an object, attribute or relation exchanged",
    chance={"accuracy": 1 / 2},
    blind={
        "vl_checklist_color": 0.363,
        "vl_checklist_spatial": 0.874,
    },
)


class _Phrases(Record):
    true: Annotated[list[Text], Field(alias="POS", min_length=1)]
    wrong: Annotated[list[Text], Field(alias="NEG", min_length=1)]

    @model_validator(mode="after")
    def one_wrong_for_each(self) -> "_Phrases":
        """The lists belong together place by place."""
        if len(self.true) != len(self.wrong):
            raise ValueError("POS and NEG are not of one length")
        return self


class _Item(Record):
    item: tuple[FileName, _Phrases]


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there.

    Raises UserError when files are missing, and at the first broken row when `config.strict`.
    """
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out; the tag is the stem of the file.

    An item is a pair of phrases. Its number is the place of its row in the file; where a row holds several pairs, with
    the place of the pair (`17-0`, `17-1`, ...), of which the authors' own program scores the first alone. Raises
    UserError when there is no file, or one is not JSON.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise UserError(f"vl_checklist: {folder}: has no *.json, such as spatial.json; see docs/data.md")
    rows: list[dict[str, Any]] = []
    for path in paths:
        published = json_list(read_json(path, "vl_checklist"), path, "vl_checklist")
        labelled = [(label, {"item": row}) for label, row in numbered(published, "items")]
        for label, row in records(labelled, _Item, "items", path.name, problems):
            image, phrases = row.item
            number = place_of(label)
            for place, pair in enumerate(zip(phrases.true, phrases.wrong, strict=True)):
                published_id = number if len(phrases.true) == 1 else f"{number}-{place}"
                rows.append(
                    item_row(
                        f"vl_checklist_{path.stem}",
                        SPLIT,
                        published_id,
                        [image],
                        list(pair),
                        file=path.name,
                        row=label,
                        tag=path.stem,
                    )
                )
    return item_frame(rows)
