"""COCO Captions (Chen et al. 2015, arXiv:1504.00325) on the splits of Karpathy and Fei-Fei (2015).

The folder as it is published: the photographs in `train2014/` and `val2014/`, or in `train2017/` and `val2017/` (the
same ones under shorter names), Karpathy's `dataset_coco.json`, `annotations/captions_{train,val}2014.json` or
`2017.json`, and, for boxes, `annotations/instances_*.json`. Where a caption file is missing, the captions of its images
are those that `dataset_coco.json` repeats.
There are no relations, choices, questions or ratings, so those tables stay empty.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, StringConstraints

from vialign.config.data import DataConfig
from vialign.data.base import BOX_TOLERANCE, DatasetTables, Problems
from vialign.data.datasets.karpathy import KarpathyImage, listed_and_captions, read_karpathy
from vialign.data.datasets.splits import assign_splits
from vialign.data.photographs import Numbers, photograph_number
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    image_paths,
    json_list,
    numbered,
    read_json,
    read_photographs,
    records,
    require_folder,
    require_photographs,
)
from vialign.errors import UserError
from vialign.progress import track
from vialign.tables.data import CAPTIONS, OBJECTS

NOTE = SourceNote(
    title="COCO Captions, Karpathy split",
    licence="annotations CC BY 4.0; the photographs under the terms of use of Flickr",
    obtain="https://cocodataset.org/#download (2014 or 2017 train and val images, train/val annotations), and the "
    "splits from https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    files=(
        "train2014/ and val2014/, or train2017/ and val2017/",
        "dataset_coco.json",
        "annotations/captions_{train,val}2014.json or annotations/captions_{train,val}2017.json",
        "annotations/instances_{train,val}2014.json or annotations/instances_{train,val}2017.json, for boxes",
    ),
    # 616,767 = 414,113 + 202,654, the official train and val captions of 2014; train includes restval.
    expected={
        "images": 123287,
        "captions": 616767,
        "train images": 113287,
        "train captions": 566747,
        "validation images": 5000,
        "validation captions": 25010,
        "test images": 5000,
        "test captions": 25010,
    },
)

IMAGE_FOLDERS = ("train2014", "val2014", "train2017", "val2017")
KARPATHY_FILE = "dataset_coco.json"
CAPTION_FILES = {
    part: tuple(f"annotations/captions_{part}{year}.json" for year in ("2014", "2017")) for part in ("train", "val")
}
INSTANCE_FILES = {
    part: tuple(f"annotations/instances_{part}{year}.json" for year in ("2014", "2017")) for part in ("train", "val")
}


class _Caption(Record):
    id: int
    image_id: int
    caption: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Category(Record):
    id: int
    name: Annotated[str, Field(min_length=1)]


class _Annotation(Record):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: Literal[0, 1]


def photographs(folder: Path) -> dict[str, Numbers]:
    """Every image of `dataset_coco.json` with its number. Raises UserError when there is no such file."""
    images = read_karpathy(_splits_file(folder), "coco", Problems("coco", strict=False))
    return {
        image.name: frozenset([photograph_number("coco", image.cocoid)]) for image in images if image.cocoid is not None
    }


def read(config: DataConfig, seed: int, aside: Collection[str] = ()) -> DatasetTables:
    """Read the data set, without the images `aside`.

    The training images, which include restval (only those of `data.tune_list`, where it is given), are divided by seed
    into confirmation, calibration, diagnosis and train, the validation images into selection and gate; every caption of
    an image is kept. `data.sizes` holds the most images that a split may have, drawn by seed. Broken rows are skipped,
    counted and listed in `problems`. An image is named as in `dataset_coco.json`, whatever its file is called. Raises
    UserError when files are missing, when nothing is left for training, and at the first broken row when `data.strict`.
    """
    folder = require_folder(config.folder, "coco")
    problems = Problems("coco", config.strict, tolerance=config.tolerance)
    files = image_paths(folder, IMAGE_FOLDERS, "coco")
    published = _with_number(read_karpathy(_splits_file(folder), "coco", problems), problems)
    paths = _paths(published, files)
    require_photographs([image.name for image in published], paths, KARPATHY_FILE, folder, IMAGE_FOLDERS, "coco")
    listed, captions = listed_and_captions(published, paths, KARPATHY_FILE, problems)
    listed = {split: [name for name in names if name not in aside] for split, names in listed.items()}
    images = read_photographs(assign_splits(listed, config, seed, "coco", problems), paths, folder, problems)
    names = {image.cocoid: image.name for image in published if image.cocoid is not None}
    captions = _official_captions(folder, names, captions, problems)
    captions = captions[captions["image_id"].isin(images["image_id"])].reset_index(drop=True)
    objects = _read_objects(folder, names, images, problems)
    problems.report()
    return DatasetTables(
        images=images, captions=captions, objects=objects, problems=problems.frame(), image_folder=folder
    )


def _splits_file(folder: Path) -> Path:
    path = find_file(folder, [KARPATHY_FILE])
    if path is None:
        raise UserError(
            f"coco: {folder}: has no file {KARPATHY_FILE}; put it there as docs/data.md says, because the published "
            "retrieval numbers are on its 5,000 test images, not on COCO's own splits"
        )
    return path


def _with_number(images: list[KarpathyImage], problems: Problems) -> list[KarpathyImage]:
    """The images that have a number of COCO of their own; each other one is counted as a problem."""
    owner: dict[int, KarpathyImage] = {}
    for image in images:
        if image.cocoid is None:
            problems.add("images", KARPATHY_FILE, image.row, "field cocoid: is missing")
        elif image.cocoid in owner:
            reason = f"field cocoid: {image.cocoid} is that of {owner[image.cocoid].name} already"
            problems.add("images", KARPATHY_FILE, image.row, reason)
        else:
            owner[image.cocoid] = image
    return list(owner.values())


def _paths(images: list[KarpathyImage], files: Mapping[str, str]) -> dict[str, str]:
    """Image to its file, under its name of 2014 or of 2017 (the number alone), where there is one."""
    found = {image.name: files.get(image.name, files.get(f"{image.cocoid:012d}.jpg")) for image in images}
    return {name: path for name, path in found.items() if path is not None}


def _official_captions(
    folder: Path, names: Mapping[int, str], repeated: pd.DataFrame, problems: Problems
) -> pd.DataFrame:
    """CAPTIONS with those of the caption files in place of the `repeated` ones, for every image that a file names."""
    found: dict[str, list[str]] = {}
    seen: set[int] = set()
    for part, candidates in CAPTION_FILES.items():
        path = find_file(folder, candidates)
        if path is None:
            place = " or ".join(candidates)
            problems.note(place, "", f"not in the folder, so COCO's {part} part has the captions of {KARPATHY_FILE}")
            continue
        rows = json_list(read_json(path, "coco"), path, "coco", "annotations")
        annotations = records(numbered(rows, "annotations"), _Caption, "captions", path.name, problems)
        for row, annotation in track(annotations, f"read {path.name}", total=len(rows)):
            if annotation.image_id not in names:
                reason = f"names image {annotation.image_id}, which is not in {KARPATHY_FILE}"
            elif annotation.id in seen:
                reason = f"caption {annotation.id} appears twice"
            else:
                seen.add(annotation.id)
                found.setdefault(names[annotation.image_id], []).append(annotation.caption)
                continue
            problems.add("captions", path.name, row, reason)
    official = [(f"{name}#{n}", name, text, None) for name, texts in found.items() for n, text in enumerate(texts)]
    rest = repeated[~repeated["image_id"].isin(found.keys())]
    return pd.concat([pd.DataFrame(official, columns=list(CAPTIONS.columns)), rest], ignore_index=True)


def _read_objects(folder: Path, names: Mapping[int, str], images: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """OBJECTS of the images in use; boxes around crowds are left out, since they hold no one thing.

    `names` maps COCO's numbers to all images of the splits file. Annotation files that are missing are noted.
    """
    sizes = dict(zip(images["image_id"], zip(images["width"], images["height"], strict=True), strict=True))
    rows: dict[str, tuple[Any, ...]] = {}
    for part, candidates in INSTANCE_FILES.items():
        path = find_file(folder, candidates)
        if path is None:
            place = " or ".join(candidates)
            problems.note(place, "", f"not in the folder, so the images of COCO's {part} part have no boxes")
        else:
            _add_objects(rows, path, names, sizes, problems)
    return pd.DataFrame(list(rows.values()), columns=list(OBJECTS.columns)) if rows else OBJECTS.empty()


def _add_objects(
    rows: dict[str, tuple[Any, ...]],
    path: Path,
    names: Mapping[int, str],
    sizes: Mapping[str, tuple[int, int]],
    problems: Problems,
) -> None:
    """Put the rows of one annotation file under their object ids."""
    content = read_json(path, "coco")
    annotations = json_list(content, path, "coco", "annotations")
    categories = _categories(content, path, problems)
    found = records(numbered(annotations, "annotations"), _Annotation, "objects", path.name, problems)
    for row, annotation in track(found, f"read {path.name}", total=len(annotations)):
        name = names.get(annotation.image_id)
        object_id = f"{name}/{annotation.id}"
        if name is None:
            reason = f"names image {annotation.image_id}, which is not in {KARPATHY_FILE}"
        elif annotation.category_id not in categories:
            reason = f"names category {annotation.category_id}, which is not in categories"
        elif object_id in rows:
            reason = f"annotation {annotation.id} appears twice"
        else:
            if name in sizes and not annotation.iscrowd:
                box = trim_box(annotation.bbox, *sizes[name])
                rows[object_id] = (object_id, name, categories[annotation.category_id], *box, [])
            continue
        problems.add("objects", path.name, row, reason)


def _categories(content: Any, path: Path, problems: Problems) -> dict[int, str]:
    rows = json_list(content, path, "coco", "categories")
    found = records(numbered(rows, "categories"), _Category, "categories", path.name, problems)
    return {category.id: category.name for _, category in found}


def trim_box(box: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """A box (x, y, width, height; pixels) cut at the edges of its image, where rounding alone let it leave.

    A box that leaves the image by more than `BOX_TOLERANCE` stays as it is, for `check_references` to find.
    """
    x, y, box_width, box_height = box
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + box_width, width), min(y + box_height, height)
    moved = max(left - x, top - y, x + box_width - right, y + box_height - bottom)
    return (left, top, right - left, bottom - top) if 0 < moved <= BOX_TOLERANCE else box
