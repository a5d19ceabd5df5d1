"""Compact-VG (VG200): boxes with one attribute, and pairs of boxes with one predicate, of 6,000 Visual Genome images.

The folder as it is published: `Attributes.txt` (a line is `image,x,y,width,height,attribute`) and `Relations.txt`
(`image,x,y,width,height,x,y,width,height,predicate`, subject first), in pixels, without a header. The photographs are
Visual Genome's own, in `VG_100K/` and `VG_100K_2/` or `images/`.

What the files do not say: no box has a class, so every object is called `UNNAMED`, and there are no captions.
`Object classes.txt` only lists 200 names, and most numbers in `Obj_ID.txt` lie one beside those of the lines (whose
colours are those of the photographs they name: other annotations agree), so neither is read. Some images were drawn
more than once, with all their lines: equal lines count once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import pandas as pd
from pydantic import Field

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.datasets import visual_genome
from vialign.data.datasets.splits import assign_splits
from vialign.data.datasets.visual_genome import IMAGE_FOLDERS, coco_test_images, deal, read_image_data
from vialign.data.photographs import Numbers, photograph_number
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    image_paths,
    read_photographs,
    records,
    require_file,
    require_folder,
    require_photographs,
    text_lines,
)
from vialign.errors import UserError
from vialign.progress import track
from vialign.tables.data import CAPTIONS, OBJECTS, RELATIONS

NAME = "vg200"
NOTE = SourceNote(
    title="Compact-VG (VG200), a subset of Visual Genome",
    licence="as Visual Genome: annotations CC BY 4.0; the photographs belong to their authors on Flickr",
    obtain="Download Compact-VG's text files, and Visual Genome's photographs from "
    "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html, into one folder; add image_data.json and "
    "dataset_coco.json to keep the images that COCO is tested on out.",
    files=("Attributes.txt", "Relations.txt", "VG_100K/ and VG_100K_2/ or images/"),
    # Counted in the published files: 5,579 of the 6,000 images differ and have a line; 63,070 attribute lines and
    # 25,221 relation lines hold so many different boxes and relations.
    expected={"images": 5579, "objects": 76317, "relations": 21405},
)
UNNAMED = "object"
"""What an object is called whose class is not given."""

Whole = Annotated[int, Field(ge=0)]
Position = Annotated[float, Field(ge=0)]
Extent = Annotated[float, Field(gt=0)]
Label = Annotated[str, Field(min_length=1)]


class AttributeLine(Record):
    """A box and its attribute."""

    image_id: Whole
    x: Position
    y: Position
    width: Extent
    height: Extent
    attribute: Label


class RelationLine(Record):
    """The boxes of subject and object, and what relates them."""

    image_id: Whole
    subject_x: Position
    subject_y: Position
    subject_width: Extent
    subject_height: Extent
    object_x: Position
    object_y: Position
    object_width: Extent
    object_height: Extent
    predicate: Label


AnyLine = TypeVar("AnyLine", bound=Record)
Place = tuple[str, float, float, float, float]
"""Image, left, top, width and height: what tells one box from another."""


def photographs(folder: Path) -> dict[str, Numbers]:
    """Every image that the lines name with its numbers, as `visual_genome.photographs`; without `image_data.json` that
    of Visual Genome alone. Raises UserError when the files are not there.
    """
    problems = Problems(NAME, strict=False)
    known = visual_genome.photographs(folder) if find_file(folder, ["image_data.json"]) is not None else {}
    return {
        name: known.get(name, frozenset([photograph_number("visual_genome", name)]))
        for name in _named(folder, problems)
    }


def _named(folder: Path, problems: Problems) -> list[str]:
    attributes, relations = read_attributes(folder, problems), read_relations(folder, problems)
    return list(dict.fromkeys([*attributes["image_id"], *relations["image_id"]]))


def read(config: DataConfig, seed: int, aside: Collection[str] = ()) -> DatasetTables:
    """Read the data set with Visual Genome's photographs, without the images `aside`; there are no captions.

    The images are dealt by seed (`visual_genome.deal`, then `splits.assign_splits`). Broken lines are skipped, counted
    and listed in `problems`. Raises UserError when files or photographs are missing, when no image is left for
    training, and at the first broken line when `data.strict`.
    """
    folder = require_folder(config.folder, NAME)
    problems = Problems(NAME, config.strict, tolerance=config.tolerance)
    attributes, relations = read_attributes(folder, problems), read_relations(folder, problems)
    named = [*attributes["image_id"], *relations["image_id"]]
    images = _read_images(named, folder, config, seed, problems, aside)
    objects, related = object_tables(attributes, relations)
    repeated = len(relations) - len(related)
    if repeated:
        problems.note("Relations.txt", "", f"{repeated} lines repeat another line and count once")
    problems.report()
    in_use = set(images["image_id"])
    return DatasetTables(
        images=images,
        captions=CAPTIONS.empty(),
        objects=objects[objects["image_id"].isin(in_use)].reset_index(drop=True),
        relations=related[related["image_id"].isin(in_use)].reset_index(drop=True),
        problems=problems.frame(),
        image_folder=folder,
    )


def read_attributes(folder: Path, problems: Problems) -> pd.DataFrame:
    """One row a line of `Attributes.txt`, in order; columns as the fields of `AttributeLine`, `image_id` as text."""
    return _read_lines(folder, "Attributes.txt", AttributeLine, "attribute lines", problems)


def read_relations(folder: Path, problems: Problems) -> pd.DataFrame:
    """One row a line of `Relations.txt`, in order; columns as the fields of `RelationLine`, `image_id` as text."""
    return _read_lines(folder, "Relations.txt", RelationLine, "relation lines", problems)


def object_tables(attributes: pd.DataFrame, relations: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """OBJECTS and RELATIONS from the lines: equal boxes of an image are one object, equal relations one relation."""
    said: dict[Place, dict[str, None]] = {}
    for image, x, y, width, height, attribute in attributes.itertuples(index=False, name=None):
        said.setdefault((image, x, y, width, height), {})[attribute] = None
    related: dict[tuple[Place, str, Place], None] = {}
    for image, *sides, predicate in relations.itertuples(index=False, name=None):
        subject, target = (image, *sides[:4]), (image, *sides[4:])
        related[subject, predicate, target] = None
        said.setdefault(subject, {})
        said.setdefault(target, {})
    object_ids = dict(zip(said, _numbered_ids(image for image, *_ in said), strict=True))
    objects = [(name, place[0], UNNAMED, *place[1:], list(said[place])) for place, name in object_ids.items()]
    relation_ids = _numbered_ids(subject[0] for subject, *_ in related)
    rows = [
        (name, subject[0], object_ids[subject], predicate, object_ids[target])
        for name, (subject, predicate, target) in zip(relation_ids, related, strict=True)
    ]
    return pd.DataFrame(objects, columns=list(OBJECTS.columns)), pd.DataFrame(rows, columns=list(RELATIONS.columns))


def _numbered_ids(images: Iterable[str]) -> Iterator[str]:
    """`<image_id>/<n>` for every occurrence of an image, counted from 0."""
    seen: Counter[str] = Counter()
    for image in images:
        yield f"{image}/{seen[image]}"
        seen[image] += 1


def _read_lines(folder: Path, file: str, model: type[AnyLine], kind: str, problems: Problems) -> pd.DataFrame:
    names = list(model.model_fields)
    lines = track(_split_lines(require_file(folder, [file], NAME), names, kind, problems), f"read {file}")
    rows = [row.model_dump() for _, row in records(lines, model, kind, file, problems)]
    return pd.DataFrame(rows, columns=names).astype({"image_id": "str"})


def _split_lines(
    path: Path, names: Sequence[str], kind: str, problems: Problems
) -> Iterator[tuple[str, dict[str, str]]]:
    """Label and fields of every line that has as many fields as there are names."""
    for number, line in text_lines(path, NAME):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == len(names):
            yield f"line {number}", dict(zip(names, fields, strict=True))
        elif line.strip():
            problems.saw(kind)
            problems.add(kind, path.name, f"line {number}", f"has {len(fields)} fields instead of {len(names)}")


def _read_images(
    named: Sequence[str], folder: Path, config: DataConfig, seed: int, problems: Problems, aside: Collection[str]
) -> pd.DataFrame:
    """IMAGES of the photographs that the lines name; each one that is missing or unreadable is a problem."""
    files = image_paths(folder, IMAGE_FOLDERS, NAME)
    distinct = list(dict.fromkeys(named))
    lines = "Attributes.txt or Relations.txt"
    require_photographs([f"{name}.jpg" for name in distinct], files, lines, folder, IMAGE_FOLDERS, NAME)
    tested = _coco_test_names(folder, problems)
    paths = {}
    for name in distinct:
        problems.saw("images")
        file = f"{name}.jpg"
        if file not in files:
            reason = f"names image {file}, which is not there"
            problems.add("images", "Attributes.txt, Relations.txt", f"image {name}", reason)
        elif name not in tested and name not in aside:
            paths[name] = files[file]
    if not paths:
        raise UserError(
            f"{NAME}: {folder}: Attributes.txt and Relations.txt name no photograph that can be used; get both again, "
            "or take dataset_coco.json away where all of them are in COCO's Karpathy test split"
        )
    splits = assign_splits(deal(list(paths), config.sizes, seed, NAME), config, seed, NAME, problems)
    return read_photographs(splits, paths, folder, problems)


def _coco_test_names(folder: Path, problems: Problems) -> set[str]:
    """Images of COCO's Karpathy test split, which only Visual Genome's `image_data.json` can tell."""
    if find_file(folder, ["image_data.json"]) is None:
        problems.note("image_data.json", "", "not in the folder, so images that COCO is tested on may be in any split")
        return set()
    published = read_image_data(folder, NAME, problems)
    return {str(number) for number in coco_test_images(folder, published, NAME, problems)}
