"""What'sUp (Kamath et al. 2023, arXiv:2310.19785): where one thing is to another, in staged and in found photographs.

As published: `controlled_images_dataset.json` (A) and `controlled_clevr_dataset.json` (B), lists of `{"image_path",
"caption_options"}` with four captions; and `coco_qa_one_obj.json`, `coco_qa_two_obj.json`, `vg_qa_one_obj.json` and
`vg_qa_two_obj.json`, lists of `[image number, caption, caption]`. The first caption is the right one. The photographs
lie in `controlled_images/`, `controlled_clevr/`, `val2017/` and `vg_images/`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.benchmarks.items import FileName, Text, item_frame, item_row, part_files, place_of, read_tables
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records

SPLIT = "whatsup"
CONTROLLED = {"whatsup_a": "controlled_images_dataset.json", "whatsup_b": "controlled_clevr_dataset.json"}
"""Benchmark to the file of its staged photographs, four of a pair of things."""
FOUND = {
    "whatsup_coco_one": ("coco_qa_one_obj.json", "val2017/{:012d}.jpg"),
    "whatsup_coco_two": ("coco_qa_two_obj.json", "val2017/{:012d}.jpg"),
    "whatsup_vg_one": ("vg_qa_one_obj.json", "vg_images/{}.jpg"),
    "whatsup_vg_two": ("vg_qa_two_obj.json", "vg_images/{}.jpg"),
}
"""Benchmark to its file and the place of an image by its number."""
WRONG_LABELS = ("controlled_images/pillow_left_of_chair.jpeg", "controlled_images/pillow_right_of_chair.jpeg")
"""Photographs whose left and right are exchanged, by issue 4 of the authors' repository; kept, since published numbers
count them, and noted."""
PLACES = ("left", "right", "above", "below", "on", "under", "front", "behind", "top", "bottom")
"""Words that say where a thing is; the tag of an item is that of its right caption."""
IMAGES_FROM = "the images come by the same link: controlled_images, controlled_clevr, val2017, vg_images"
NOTE = SourceNote(
    title="What'sUp: staged photographs (A, B), COCO-QA and VG-QA",
    licence="MIT; found photographs are of COCO (Flickr terms of use) and Visual Genome (CC BY 4.0)",
    obtain=f"https://github.com/amitakamath/whatsup_vlms names a folder with all of its files; {IMAGES_FROM}.",
    files=(
        *CONTROLLED.values(),
        *(file for file, _ in FOUND.values()),
        "controlled_images/, controlled_clevr/, val2017/, vg_images/",
    ),
    expected={
        "whatsup_a items": 412,
        "whatsup_b items": 408,
        "whatsup_coco_one items": 2247,
        "whatsup_coco_two items": 440,
        "whatsup_vg_one items": 1160,
        "whatsup_vg_two items": 291,
    },
    measures="whether the right preposition is chosen for two things, or for one thing and the frame",
    chance={"accuracy (A and B, four captions)": 1 / 4, "accuracy (COCO and VG, two captions)": 1 / 2},
)


class _Staged(Record):
    image_path: FileName
    caption_options: Annotated[list[Text], Field(min_length=2)]


class _Found(Record):
    item: tuple[Annotated[int, Field(strict=True, ge=0, lt=10**12)], Text, Text]


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there, as `read_tables`."""
    return read_tables(SPLIT, read_items, ("",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out; the tag is the place (`PLACES`).

    Items with a label that is known to be wrong are noted, and so is a part whose file is not there. Raises UserError
    when there is none of them, or one is not JSON.
    """
    names = {**CONTROLLED, **{benchmark: file for benchmark, (file, _) in FOUND.items()}}
    paths = part_files(folder, names, "data", SPLIT, problems)
    rows: list[dict[str, Any]] = []
    for benchmark, path in paths.items():
        if path is not None:
            read_part = _staged if benchmark in CONTROLLED else _found
            rows += read_part(benchmark, path, problems)
    wrong = [row for row in rows if row["images"][0] in WRONG_LABELS]
    for row in wrong:
        problems.note(row["file"], row["row"], f"{row['images'][0]} is known to be labelled wrongly; kept")
    return item_frame(rows)


def place_word(caption: str) -> str:
    """The word of `PLACES` in a caption that comes last, or nothing."""
    found = [word for word in caption.lower().replace("-", " ").rstrip(". ").split() if word in PLACES]
    return found[-1] if found else ""


def _staged(benchmark: str, path: Path, problems: Problems) -> Iterator[dict[str, Any]]:
    published = numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items")
    for label, item in records(published, _Staged, "items", path.name, problems):
        image, texts = item.image_path.removeprefix("data/"), item.caption_options
        yield item_row(
            benchmark, SPLIT, place_of(label), [image], texts, file=path.name, row=label, tag=place_word(texts[0])
        )


def _found(benchmark: str, path: Path, problems: Problems) -> Iterator[dict[str, Any]]:
    published = numbered(json_list(read_json(path, SPLIT), path, SPLIT), "items")
    labelled = [(label, {"item": row}) for label, row in published]
    for label, found in records(labelled, _Found, "items", path.name, problems):
        number, right, wrong = found.item
        image = FOUND[benchmark][1].format(number)
        yield item_row(
            benchmark, SPLIT, place_of(label), [image], [right, wrong], file=path.name, row=label, tag=place_word(right)
        )
