"""ARO's VG-Relation and VG-Attribution (Yuksekgonul et al. 2023, arXiv:2210.01936).

As published: `visual_genome_relation.json` and `visual_genome_attribution.json`, lists of items with `image_path`,
`true_caption`, `false_caption`, the box `bbox_x`, `bbox_y`, `bbox_w`, `bbox_h` (pixels) and `relation_name` or
`attributes`, and the photographs in `images/`. The item shows the photograph cut to its box. The order tasks are made
from captions (`vialign.data.benchmarks.aro_order`).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from vialign.config.data import BenchmarkConfig
from vialign.data.base import BOX_TOLERANCE, DatasetTables, Problems
from vialign.data.benchmarks.items import (
    FileName,
    Text,
    item_frame,
    item_row,
    one_image_two_texts,
    place_of,
    read_tables,
)
from vialign.data.published_files import Record, SourceNote, json_list, numbered, read_json, records
from vialign.errors import UserError
from vialign.files.artifacts import write_text

SPLIT = "aro"
IMAGES_FROM = "the images come as vgr_vga_images.zip by the download of VG_Relation in the authors' dataset_zoo"
NOTE = SourceNote(
    title="ARO: Visual Genome Relation and Attribution",
    licence="MIT; the photographs are of Visual Genome (CC BY 4.0)",
    obtain=f"https://github.com/mertyg/vision-language-models-are-bows downloads its two JSON files; {IMAGES_FROM}.",
    files=("visual_genome_relation.json", "visual_genome_attribution.json", "images/"),
    expected={"aro_relation items": 23937, "aro_attribution items": 28748},
    measures="whether a caption beats the same with its roles, or with its attributes, exchanged",
    chance={"accuracy": 1 / 2},
)

_LEFT_OUT = (
    "adjusting, attached to, between, bigger than, biting, boarding, brushing, chewing, cleaning, climbing, "
    "close to, coming from, coming out of, contain, crossing, dragging, draped over, drinking, drinking from, "
    "driving, driving down, driving on, eating from, eating in, enclosing, exiting, facing, filled with, "
    "floating in, floating on, flying, flying above, flying in, flying over, flying through, full of, going down, "
    "going into, going through, grazing in, growing in, growing on, guiding, hanging from, hanging in, "
    "hanging off, hanging over, higher than, holding onto, hugging, in between, jumping off, jumping on, "
    "jumping over, kept in, larger than, leading, leaning over, leaving, licking, longer than, looking in, "
    "looking into, looking out, looking over, looking through, lying next to, lying on top of, making, "
    "mixed with, mounted on, moving, on the back of, on the edge of, on the front of, on the other side of, "
    "opening, painted on, parked at, parked beside, parked by, parked in, parked in front of, parked near, "
    "parked next to, perched on, petting, piled on, playing, playing in, playing on, playing with, pouring, "
    "reaching for, reading, reflected on, riding on, running in, running on, running through, seen through, "
    "sitting behind, sitting beside, sitting by, sitting in front of, sitting near, sitting next to, "
    "sitting under, skiing down, skiing on, sleeping in, sleeping on, smiling at, sniffing, splashing, "
    "sprinkled on, stacked on, standing against, standing around, standing behind, standing beside, "
    "standing in front of, standing near, standing next to, staring at, stuck in, surrounding, swimming in, "
    "swinging, talking to, topped with, touching, traveling down, traveling on, tying, typing on, underneath, "
    "wading in, waiting for, walking across, walking by, walking down, walking next to, walking through, "
    "working in, working on, worn on, wrapped around, wrapped in, by, of, near, next to, with, beside, "
    "on the side of, around"
)
SYMMETRIC_RELATIONS = frozenset(_LEFT_OUT.split(", "))
"""What the published macro average of VG-Relation leaves out: the list of the authors' notebook, under their name for
it, though not every one of them is symmetric."""

Side = Annotated[float, Field(gt=0)]
Corner = Annotated[float, Field(ge=-BOX_TOLERANCE)]


class _Item(Record, ABC):
    image_path: FileName
    true_caption: Text
    false_caption: Text
    bbox_x: Corner
    bbox_y: Corner
    bbox_w: Side
    bbox_h: Side

    @property
    @abstractmethod
    def tag(self) -> str:
        """The class of the macro average."""


class _Relation(_Item):
    relation_name: Text

    @property
    def tag(self) -> str:
        """The predicate."""
        return self.relation_name


class _Attribution(_Item):
    attributes: Annotated[list[Text], Field(min_length=2)]

    @property
    def tag(self) -> str:
        """The pair, in its published order."""
        return f"{self.attributes[0]}_{self.attributes[1]}"


FILES: dict[str, tuple[str, type[_Item]]] = {
    "aro_relation": ("visual_genome_relation.json", _Relation),
    "aro_attribution": ("visual_genome_attribution.json", _Attribution),
}
"""Benchmark to its published file and what a row of it holds."""


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the items whose photographs are there, cut to their boxes.

    Raises UserError when files are missing, and at the first broken row when `config.strict`.
    """
    return read_tables(SPLIT, read_items, ("images",), IMAGES_FROM, config, seed)


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """What the annotation files say (`ITEM_COLUMNS`), broken rows left out.

    The tag is the relation, or both attributes. A file that is not there is noted. Raises UserError when neither is, or
    one is not JSON.
    """
    missing = [name for name, _ in FILES.values() if not (folder / name).is_file()]
    if len(missing) == len(FILES):
        raise UserError(f"aro: {folder}: has no file {' or '.join(missing)}; put it there as docs/data.md says")
    for name in missing:
        problems.note(name, "", "not in the folder, so its benchmark is left out")
    rows: list[dict[str, Any]] = []
    for benchmark, (name, model) in FILES.items():
        if name in missing:
            continue
        path = folder / name
        published = numbered(json_list(read_json(path, "aro"), path, "aro"), "items")
        for label, item in records(published, model, "items", name, problems):
            texts = [item.true_caption, item.false_caption]
            row = item_row(
                benchmark, SPLIT, place_of(label), [item.image_path], texts, file=name, row=label, tag=item.tag
            )
            rows.append(row | {"crop": [item.bbox_x, item.bbox_y, item.bbox_w, item.bbox_h]})
    return item_frame(rows)


def write_published(
    choices: Sequence[Mapping[str, Any]],
    files: Mapping[str, str],
    boxes: Mapping[str, Sequence[float]],
    folder: Path,
) -> None:
    """Write CHOICES rows of `aro_relation` and `aro_attribution` as the published files.

    `files` and `boxes` give, by image id, the file and the part of it that is seen (x, y, width, height in pixels).
    Raises ValueError for an item that the form cannot hold.
    """
    published: dict[str, list[dict[str, Any]]] = {}
    for choice in choices:
        image_id, true, wrong = one_image_two_texts(choice)
        benchmark, tag = choice["benchmark"], choice["tag"]
        item: dict[str, Any] = {"image_path": files[image_id], "true_caption": true, "false_caption": wrong}
        item |= dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), boxes[image_id], strict=True))
        if benchmark == "aro_relation":
            item["relation_name"] = tag
        elif benchmark == "aro_attribution" and "_" in tag:
            item["attributes"] = tag.split("_", 1)
        else:
            raise ValueError(f"{choice['item_id']}: ARO has no file for benchmark {benchmark} with tag {tag}")
        published.setdefault(benchmark, []).append(item)
    for benchmark, items in published.items():
        write_text(json.dumps(items), folder / FILES[benchmark][0])
