"""The annotation files of Visual Genome (versions 1.2 and 1.4) as tables of objects, relations and captions.

Every file is a list with one entry an image. Memory: one file at a time is held whole, as Python objects, which take up
to six times the space that the file takes on disk (the largest have about 0.7 GB), beside the tables themselves.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import AliasChoices, Field

from vialign.data.base import Problems
from vialign.data.published_files import (
    Record,
    find_file,
    json_list,
    numbered,
    read_json,
    records,
    require_file,
    text_lines,
)
from vialign.progress import track
from vialign.tables.data import CAPTIONS, OBJECTS, RELATIONS

NAME = "visual_genome"
CAPTION_COVERAGE = 0.5
"""Least share of the image that a region must cover for its phrase to be a caption of the image."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""
Sizes = Mapping[int, tuple[int, int] | None]
"""Width and height in pixels of every image in use, by its number; None for a published image that is not in use."""


class AnnotatedImage(Record):
    """What a file holds of one image; the file of regions calls the image `id`."""

    image_id: int = Field(validation_alias=AliasChoices("image_id", "id"))
    rows: list[Any]


class ObjectImage(AnnotatedImage):
    """Of `objects.json`."""

    rows: list[Any] = Field(alias="objects")


class AttributeImage(AnnotatedImage):
    """Of `attributes.json`."""

    rows: list[Any] = Field(alias="attributes")


class RelationImage(AnnotatedImage):
    """Of `relationships.json`."""

    rows: list[Any] = Field(alias="relationships")


class RegionImage(AnnotatedImage):
    """Of `region_descriptions.json`."""

    rows: list[Any] = Field(alias="regions")


class ObjectRow(Record):
    """An object; those that were merged into it may still be named by their old numbers."""

    object_id: int
    names: list[str] = Field(min_length=1)
    x: float
    y: float
    w: float
    h: float
    merged_object_ids: list[int] = []


class AttributeRow(Record):
    """The attributes of an object; an object without any has no such field."""

    object_id: int
    attributes: list[str] = []


class Argument(Record):
    """Subject or object of a relation. Its names and box are those of the object and are not read again."""

    object_id: int


class RelationRow(Record):
    """A relation."""

    relationship_id: int
    predicate: str
    subject: Argument
    object: Argument


class RegionRow(Record):
    """A region and the phrase that describes it."""

    region_id: int
    phrase: str
    x: float
    y: float
    width: float
    height: float


AnyRow = TypeVar("AnyRow", bound=Record)


def read_objects(folder: Path, sizes: Sizes, problems: Problems) -> tuple[pd.DataFrame, dict[str, str]]:
    """OBJECTS with their attributes, and the `object_id` that each published `<image>/<object>` number stands for.

    Boxes are clipped to the image; a box with nothing left is a problem.
    """
    aliases = read_aliases(folder, "object_alias.txt")
    rows: dict[str, tuple[Any, ...]] = {}
    owners: dict[str, str] = {}
    clipped, file = 0, "objects.json"
    for label, image, size, row in _rows(folder, file, ObjectImage, ObjectRow, "objects", sizes, problems):
        object_id, name, published = f"{image}/{row.object_id}", canonical(row.names[0], aliases), _box(row)
        box = clip_box(published, size)
        if box is None:
            problems.add("objects", file, label, f"the box of object {row.object_id} has no area in the image")
        elif not name:
            problems.add("objects", file, label, f"object {row.object_id} has no name")
        elif object_id in rows:
            problems.add("objects", file, label, f"object {row.object_id} appears twice")
        else:
            clipped += box != published
            rows[object_id] = (object_id, str(image), name, *box)
            owners[object_id] = object_id
            for merged in row.merged_object_ids:
                owners.setdefault(f"{image}/{merged}", object_id)
    if clipped:
        problems.note(file, "", f"{clipped} boxes stick out of their image and were clipped to it")
    attributes = _read_attributes(folder, sizes, owners, problems)
    frame = pd.DataFrame(list(rows.values()), columns=[name for name in OBJECTS.columns if name != "attributes"])
    frame["attributes"] = pd.Series([attributes.get(name, []) for name in rows], dtype=object)
    return frame, owners


def _read_attributes(folder: Path, sizes: Sizes, owners: Mapping[str, str], problems: Problems) -> dict[str, list[str]]:
    """Attributes of each object, in published order, each once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    kind, file = "attribute rows", "attributes.json"
    for label, image, _, row in _rows(folder, file, AttributeImage, AttributeRow, kind, sizes, problems):
        owner = owners.get(f"{image}/{row.object_id}")
        if owner is None:
            problems.add(kind, file, label, f"names object {row.object_id}, which is not in the image")
            continue
        for attribute in row.attributes:
            if attribute.strip():
                found[owner][canonical(attribute, {})] = None
            else:
                problems.add("attributes", file, label, f"object {row.object_id} has an empty attribute")
    return {owner: list(attributes) for owner, attributes in found.items()}


def read_relations(folder: Path, sizes: Sizes, owners: Mapping[str, str], problems: Problems) -> pd.DataFrame:
    """RELATIONS whose subject and object are among the objects (`owners` of `read_objects`)."""
    aliases = read_aliases(folder, "relationship_alias.txt")
    rows: dict[str, tuple[str, ...]] = {}
    file = "relationships.json"
    for label, image, _, row in _rows(folder, file, RelationImage, RelationRow, "relations", sizes, problems):
        relation_id, predicate = f"{image}/{row.relationship_id}", canonical(row.predicate, aliases)
        subject, target = (owners.get(f"{image}/{argument.object_id}") for argument in (row.subject, row.object))
        if subject is None or target is None:
            missing = row.subject.object_id if subject is None else row.object.object_id
            problems.add("relations", file, label, f"names object {missing}, which is not in the image")
        elif not predicate:
            problems.add("relations", file, label, f"relation {row.relationship_id} has no predicate")
        elif relation_id in rows:
            problems.add("relations", file, label, f"relation {row.relationship_id} appears twice")
        else:
            rows[relation_id] = (relation_id, str(image), subject, predicate, target)
    return pd.DataFrame(list(rows.values()), columns=list(RELATIONS.columns))


def read_captions(folder: Path, sizes: Sizes, problems: Problems) -> pd.DataFrame:
    """CAPTIONS: the phrases of the regions that cover at least `CAPTION_COVERAGE` of their image."""
    rows: dict[str, tuple[str, str, str, None]] = {}
    file = "region_descriptions.json"
    for label, image, size, row in _rows(folder, file, RegionImage, RegionRow, "regions", sizes, problems):
        caption_id, box = f"{image}#{row.region_id}", clip_box((row.x, row.y, row.width, row.height), size)
        if box is None:
            problems.add("regions", file, label, f"region {row.region_id} has no area in the image")
        elif not row.phrase.strip():
            problems.add("regions", file, label, f"region {row.region_id} has an empty phrase")
        elif box[2] * box[3] >= CAPTION_COVERAGE * size[0] * size[1]:
            if caption_id in rows:
                problems.add("regions", file, label, f"region {row.region_id} appears twice")
            else:
                rows[caption_id] = (caption_id, str(image), row.phrase.strip(), None)
    return pd.DataFrame(list(rows.values()), columns=list(CAPTIONS.columns))


def clip_box(box: Box, size: tuple[int, int]) -> Box | None:
    """The part of a box that lies in an image of (width, height) pixels; None when nothing does."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    if left < 0 or top < 0 or right > size[0] or bottom > size[1]:
        left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])
        box = (left, top, right - left, bottom - top)
    return box if box[2] > 0 and box[3] > 0 else None


def canonical(name: str, aliases: Mapping[str, str]) -> str:
    """The name in lower case, without space around it, and replaced by the name that stands for it."""
    plain = name.strip().lower()
    return aliases.get(plain, plain)


def read_aliases(folder: Path, file: str) -> dict[str, str]:
    """Name to the name that stands for it; empty without the file. The first line that lists a name decides."""
    path = find_file(folder, [file])
    aliases: dict[str, str] = {}
    for _, line in [] if path is None else text_lines(path, NAME):
        names = [name.strip().lower() for name in line.split(",") if name.strip()]
        for name in names:
            aliases.setdefault(name, names[0])
    return aliases


def _rows(
    folder: Path,
    file: str,
    model: type[AnnotatedImage],
    row_model: type[AnyRow],
    kind: str,
    sizes: Sizes,
    problems: Problems,
) -> Iterator[tuple[str, int, tuple[int, int], AnyRow]]:
    """Label, image number, size of the image and row: all that a file says about the images in use."""
    path = require_file(folder, [file], NAME)
    published = json_list(read_json(path, NAME), path, NAME)
    images = records(numbered(published, "images"), model, f"images of {file}", file, problems)
    for label, image in track(images, f"read {file}", total=len(published)):
        number = image.image_id
        if number not in sizes:
            problems.add(f"images of {file}", file, label, f"names image {number}, which is not in image_data.json")
            continue
        size = sizes[number]
        if size is not None:
            rows = numbered(image.rows, f"image {number}, {model.model_fields['rows'].alias}")
            for place, row in records(rows, row_model, kind, file, problems):
                yield place, number, size, row


def _box(row: ObjectRow) -> Box:
    return row.x, row.y, row.w, row.h
