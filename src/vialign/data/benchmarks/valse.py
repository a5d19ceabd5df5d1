"""VALSE (Parcalabescu et al. 2022, arXiv:2112.07566): a photograph, its caption, and a foil, by linguistic phenomenon.

As published: eleven files `<instrument>.json`, each `{key: {"image_file", "caption", "foil", "mturk": {"caption",
"foil", "other"}, ...}}`. Three people said which text describes the image; the published valid set are the items where
at least two chose the caption and not the foil, and only these are read. The photographs come from five data sets.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, part_files, read_tables
from vialign.data.published_files import Record, SourceNote, json_object, read_json, records

SPLIT = "valse"
INSTRUMENTS = (
    "existence",
    "plurals",
    "counting-hard",
    "counting-small-quant",
    "counting-adversarial",
    "relations",
    "action-replacement",
    "actant-swap",
    "coreference-standard",
    "coreference-hard",
    "foil-it",
)
"""Stems of the published files; the benchmark of each is `valse_<stem>`, with `_` for `-`."""
VOTES = 2
"""People of three who must choose the caption, and not the foil, for an item to be valid."""
IMAGES_FROM = (
    "the images come from Visual7W (v7w_*.jpg), COCO (val2017; val2014 for foil-it), SWiG, and VisDial with COCO "
    "train2014, and lie together in images/, or as links"
)
NOTE = SourceNote(
    title="VALSE",
    licence="MIT; the photographs under the terms of their own data sets",
    obtain=f"The files of data/ in https://github.com/Heidelberg-NLP/VALSE; {IMAGES_FROM}.",
    files=(*(f"{name}.json" for name in INSTRUMENTS), "images/"),
    expected={
        "valse_existence items": 505,
        "valse_plurals items": 851,
        "valse_counting_hard items": 868,
        "valse_counting_small_quant items": 900,
        "valse_counting_adversarial items": 691,
        "valse_relations items": 535,
        "valse_action_replacement items": 648,
        "valse_actant_swap items": 949,
        "valse_coreference_standard items": 708,
        "valse_coreference_hard items": 104,
        "valse_foil_it items": 943,
    },
    measures="whether a caption beats one that is wrong in existence, number, counting, relation, action or reference",
    chance={"accuracy": 1 / 2},
    blind={
        "valse_actant_swap": 0.813,
        "valse_action_replacement": 0.496,
        "valse_coreference_hard": 0.548,
        "valse_coreference_standard": 0.549,
        "valse_counting_adversarial": 0.219,
        "valse_counting_hard": 0.452,
        "valse_counting_small_quant": 0.474,
        "valse_existence": 0.598,
        "valse_foil_it": 0.486,
        "valse_plurals": 0.538,
        "valse_relations": 0.574,
    },
)


class _Votes(Record):
    caption: Annotated[int, Field(ge=0)]


class _Item(Record):
    image_file: FileName
    caption: Text
    foil: Text
    mturk: _Votes
    linguistic_phenomena: Text


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the valid items whose photographs are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """The valid items of the annotation files (`ITEM_COLUMNS`), broken rows left out; the tag is the phenomenon.

    How many items the votes leave out is noted, and so is an instrument whose file is not there. Raises UserError when
    there is none of them, or one is not JSON.
    """
    paths = part_files(folder, {name: f"{name}.json" for name in INSTRUMENTS}, "data", SPLIT, problems)
    rows: list[dict[str, Any]] = []
    for name, path in paths.items():
        published = json_object(read_json(path, SPLIT), path, SPLIT)
        labelled = [(json.dumps(key), item) for key, item in published.items()]
        doubted = 0
        benchmark = f"{SPLIT}_{name.replace('-', '_')}"
        for label, item in records(labelled, _Item, "items", path.name, problems):
            if item.mturk.caption < VOTES:
                doubted += 1
                continue
            rows.append(
                item_row(
                    benchmark,
                    SPLIT,
                    json.loads(label),
                    [item.image_file],
                    [item.caption, item.foil],
                    file=path.name,
                    row=label,
                    tag=item.linguistic_phenomena,
                )
            )
        if doubted:
            problems.note(path.name, "", f"{doubted} of {len(published)} items left out, as published, by their votes")
    return item_frame(rows)
