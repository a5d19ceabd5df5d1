"""Flickr8k (Hodosh, Young, Hockenmaier 2013, JAIR 47): photographs, five captions each, human ratings.

The folder as it is published: `images/` (or `Flicker8k_Dataset/`), `Flickr8k.token.txt` and the three official lists
`Flickr_8k.{train,dev,test}Images.txt`, or instead of these four Karpathy's `dataset_flickr8k.json`, which says the
same; `CrowdFlowerAnnotations.txt` and `ExpertAnnotations.txt`. Text files may lie in `Flickr8k_text/`.
There are no boxes, relations, choices or questions, so those tables stay empty.
"""

import re
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.datasets.karpathy import listed_and_captions, read_karpathy
from vialign.data.datasets.splits import assign_splits, list_names, read_lists
from vialign.data.published_files import (
    Record,
    SourceNote,
    find_file,
    image_paths,
    read_caption_lines,
    read_photographs,
    records,
    require_file,
    require_folder,
    require_photographs,
    text_lines,
)
from vialign.progress import track
from vialign.tables.data import RATINGS

NOTE = SourceNote(
    title="Flickr8k",
    licence="research and education only; the photographs belong to their authors on Flickr",
    obtain="fill in the form at https://forms.illinois.edu/sec/1713398, then unpack Flickr8k_Dataset and Flickr8k_text",
    files=(
        "images/ or Flicker8k_Dataset/",
        "Flickr8k.token.txt and Flickr_8k.{train,dev,test}Images.txt, or dataset_flickr8k.json",
        "CrowdFlowerAnnotations.txt",
        "ExpertAnnotations.txt",
    ),
    expected={
        "images": 8000,
        "captions": 40000,
        "train images": 6000,
        "train captions": 30000,
        "validation images": 1000,
        "validation captions": 5000,
        "test images": 1000,
        "test captions": 5000,
        "crowdflower ratings": 47830,
        # Three judgements of each of 5,822 pairs.
        "expert ratings": 17466,
    },
)

IMAGE_FOLDERS = ("images", "Flicker8k_Dataset")
CAPTION_FILE = "Flickr8k.token.txt"
KARPATHY_FILE = "dataset_flickr8k.json"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
"""Split to the official list of its images."""
TOKEN_LINE = re.compile(r"(?P<image>[^\t]+)#(?P<number>[0-9]+)\t(?P<text>.*)")
"""A line of a token file, here and in Flickr30k."""
TOKEN_FORM = "`<image>#<number>`, a tab and a caption"


class _CrowdRating(Record):
    """A line of CrowdFlowerAnnotations.txt; the numbers of yes and of no that follow are in the share already."""

    image: str
    caption: str
    share_of_yes: Annotated[float, Field(ge=0, le=1)]


class _ExpertRating(Record):
    """A line of ExpertAnnotations.txt; 1 says that the caption does not describe the image at all, 4 that it does."""

    image: str
    caption: str
    first: Annotated[int, Field(ge=1, le=4)]
    second: Annotated[int, Field(ge=1, le=4)]
    third: Annotated[int, Field(ge=1, le=4)]


RATING_FILES: dict[str, tuple[str, type[Record]]] = {
    "crowdflower": ("CrowdFlowerAnnotations.txt", _CrowdRating),
    "expert": ("ExpertAnnotations.txt", _ExpertRating),
}
"""Source of ratings to its file and to the columns of its lines: image, caption, one judgement a further column."""


def read(config: DataConfig, seed: int) -> DatasetTables:
    """Read the data set.

    The training images (only those of `data.tune_list`, where it is given) are divided by seed into confirmation,
    calibration, diagnosis and train, the official dev list into selection and gate; the test list is test. `data.sizes`
    holds the most images that a split may have, drawn by seed. Broken rows are skipped, counted and listed in
    `problems`.
    Raises UserError when files are missing, when nothing is left for training, and at the first broken row when
    `data.strict`.
    """
    folder = require_folder(config.folder, "flickr8k")
    problems = Problems("flickr8k", config.strict, tolerance=config.tolerance)
    paths = image_paths(folder, IMAGE_FOLDERS, "flickr8k")
    listed, captions = _published(folder, paths, problems)
    images = read_photographs(assign_splits(listed, config, seed, "flickr8k", problems), paths, folder, problems)
    published = set(captions["caption_id"])
    captions = captions[captions["image_id"].isin(images["image_id"])].reset_index(drop=True)
    known = set(images["image_id"]), set(captions["caption_id"])
    ratings = _read_ratings(folder, *known, set().union(*listed.values()), published, problems)
    problems.report()
    return DatasetTables(
        images=images, captions=captions, ratings=ratings, problems=problems.frame(), image_folder=folder
    )


def _published(folder: Path, paths: dict[str, str], problems: Problems) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Split to images, and CAPTIONS: of the official files, or of Karpathy's where there is no official one."""
    captions = require_file(folder, [*_places(CAPTION_FILE), KARPATHY_FILE], "flickr8k")
    if captions.name == KARPATHY_FILE:
        images = read_karpathy(captions, "flickr8k", problems)
        require_photographs([image.name for image in images], paths, KARPATHY_FILE, folder, IMAGE_FOLDERS, "flickr8k")
        return listed_and_captions(images, paths, KARPATHY_FILE, problems)
    lists = {split: require_file(folder, _places(name), "flickr8k") for split, name in LISTS.items()}
    require_photographs(list_names(lists, "flickr8k"), paths, "its lists", folder, IMAGE_FOLDERS, "flickr8k")
    listed = read_lists(lists, paths, "flickr8k", problems)
    lines = text_lines(captions, "flickr8k")
    return listed, read_caption_lines(lines, TOKEN_LINE, TOKEN_FORM, CAPTION_FILE, paths, problems)


def _read_ratings(
    folder: Path,
    images: set[str],
    captions: set[str],
    published_images: set[str],
    published_captions: set[str],
    problems: Problems,
) -> pd.DataFrame:
    """RATINGS of both files, for pairs of images and captions in use; one that names no published one is a problem."""
    rows: dict[tuple[str, str, str, int], float] = {}
    found = {source: find_file(folder, _places(name)) for source, (name, _) in RATING_FILES.items()}
    for source, path in found.items():
        if path is None:
            continue
        model = RATING_FILES[source][1]
        columns = list(model.model_fields)
        lines = (
            (f"line {n}", dict(zip(columns, content.split("\t"), strict=False)))
            for n, content in text_lines(path, "flickr8k")
        )
        for line, rating in records(track(lines, f"read {path.name}"), model, "ratings", path.name, problems):
            image_id, caption_id, *judgements = rating.model_dump().values()
            if (image_id, caption_id, source, 0) in rows:
                problems.add("ratings", path.name, line, f"rates image {image_id} with caption {caption_id} again")
            elif image_id not in published_images:
                problems.add("ratings", path.name, line, f"rates image {image_id}, which is not in images")
            elif caption_id not in published_captions:
                problems.add("ratings", path.name, line, f"rates caption {caption_id}, which is not in captions")
            elif image_id in images and caption_id in captions:
                rows |= {(image_id, caption_id, source, n): float(value) for n, value in enumerate(judgements)}
    if not any(found.values()):
        names = " or ".join(name for name, _ in RATING_FILES.values())
        problems.note(names, "", "not in the folder, so agreement with human ratings is not available")
    frame = pd.DataFrame([(*key, value) for key, value in rows.items()], columns=list(RATINGS.columns))
    return frame if rows else RATINGS.empty()


def _places(name: str) -> list[str]:
    return [name, f"Flickr8k_text/{name}"]
