"""Flickr30k (Young, Lai, Hodosh, Hockenmaier 2014, TACL 2): photographs with five captions each.

The folder: `flickr30k-images/` (or `flickr30k_images/`, `images/`), and the captions in one of three forms:
`dataset_flickr30k.json` of Karpathy with the splits that retrieval is compared on (29,000, 1,014 and 1,000 of the
31,783 images); or `results_20130124.token` (a tab) or `results.csv` (bars) with the same splits as lists
`flickr30k_{train,val,test}.txt` or `{train,val,test}.txt`. There are no boxes, relations, choices, questions or
ratings, so those tables stay empty.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.datasets.flickr8k import TOKEN_FORM, TOKEN_LINE
from vialign.data.datasets.karpathy import listed_and_captions, read_karpathy
from vialign.data.datasets.splits import assign_splits, list_names, read_lists
from vialign.data.published_files import (
    SourceNote,
    find_file,
    image_paths,
    read_caption_lines,
    read_photographs,
    require_file,
    require_folder,
    require_photographs,
    text_lines,
)
from vialign.errors import UserError

NOTE = SourceNote(
    title="Flickr30k",
    licence="non-commercial research and education; the photographs belong to their authors on Flickr",
    obtain="fill in the form at https://shannon.cs.illinois.edu/DenotationGraph/ for the photographs, and take the "
    "splits from https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    files=(
        "flickr30k-images/ or flickr30k_images/ or images/",
        "dataset_flickr30k.json, or results_20130124.token or results.csv with flickr30k_{train,val,test}.txt",
    ),
    # Karpathy's split, five captions an image.
    # The corpus has more photographs than Karpathy's splits use.
    expected={
        "image files": 31783,
        "images": 31014,
        "captions": 155070,
        "train images": 29000,
        "train captions": 145000,
        "validation images": 1014,
        "validation captions": 5070,
        "test images": 1000,
        "test captions": 5000,
    },
)

IMAGE_FOLDERS = ("flickr30k-images", "flickr30k_images", "images")
KARPATHY_FILE = "dataset_flickr30k.json"
TOKEN_FILE = "results_20130124.token"
CSV_FILE = "results.csv"
CSV_LINE = re.compile(r"(?P<image>[^|]+)\|\s*(?P<number>[0-9]+)\s*\|(?P<text>.*)")
WITHOUT_BAR = re.compile(r"(?P<image>[^|]+)\|\s*(?P<number>[0-9]+)\s+(?P<text>[^|\s][^|]*)")
"""A row of results.csv whose second bar is missing; the number after the first tells where the caption begins."""
LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
"""Split to the list of its images, which may have `flickr30k_` in front."""


def read(config: DataConfig, seed: int) -> DatasetTables:
    """Read the data set.

    The training images (only those of `data.tune_list`, where it is given) are divided by seed into confirmation,
    calibration, diagnosis and train, the validation images into selection and gate. `data.sizes` holds the most images
    that a split may have, drawn by seed. Broken rows are skipped, counted and listed in `problems`. A row of
    results.csv without its second bar (as it is handed around it has one, caption 4 of image 2199200615.jpg) is read
    all the same, and noted. Raises UserError when files are missing, when nothing is left for training, and at the
    first broken row when `data.strict`.
    """
    folder = require_folder(config.folder, "flickr30k")
    problems = Problems("flickr30k", config.strict, tolerance=config.tolerance)
    paths = image_paths(folder, IMAGE_FOLDERS, "flickr30k")
    listed, captions = _published(folder, paths, problems)
    images = read_photographs(assign_splits(listed, config, seed, "flickr30k", problems), paths, folder, problems)
    captions = captions[captions["image_id"].isin(images["image_id"])].reset_index(drop=True)
    problems.report()
    return DatasetTables(images=images, captions=captions, problems=problems.frame(), image_folder=folder)


def _published(folder: Path, paths: dict[str, str], problems: Problems) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Split to images, and CAPTIONS, of the first of the three forms that is there."""
    path = require_file(folder, [KARPATHY_FILE, TOKEN_FILE, CSV_FILE], "flickr30k")
    if path.name == KARPATHY_FILE:
        images = read_karpathy(path, "flickr30k", problems)
        require_photographs([image.name for image in images], paths, KARPATHY_FILE, folder, IMAGE_FOLDERS, "flickr30k")
        return listed_and_captions(images, paths, KARPATHY_FILE, problems)
    lists = _lists(folder, path.name)
    named = [name if name in paths else f"{name}.jpg" for name in list_names(lists, "flickr30k")]
    require_photographs(named, paths, "its lists", folder, IMAGE_FOLDERS, "flickr30k")
    listed = read_lists(lists, paths, "flickr30k", problems, ending=".jpg")
    if path.name == TOKEN_FILE:
        lines, pattern, form = text_lines(path, "flickr30k"), TOKEN_LINE, TOKEN_FORM
    else:
        lines, pattern, form = _below_header(path, problems), CSV_LINE, "`<image>| <number>| <caption>`"
    return listed, read_caption_lines(lines, pattern, form, path.name, paths, problems)


def _below_header(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """The rows of results.csv, a missing second bar put in and noted."""
    for line, content in text_lines(path, "flickr30k"):
        if line == 1 and content.startswith("image_name|"):
            continue
        broken = WITHOUT_BAR.fullmatch(content)
        if broken is not None:
            image, number, text = broken["image"], broken["number"], broken["text"]
            problems.note(path.name, f"line {line}", f"has no second bar; read as caption {number} of image {image}")
            content = f"{image}| {number}| {text}"
        yield line, content


def _lists(folder: Path, captions: str) -> dict[str, Path]:
    """Split to its list. Raises UserError saying which is missing."""
    found = {split: find_file(folder, [f"flickr30k_{name}", name]) for split, name in LISTS.items()}
    missing = [f"flickr30k_{LISTS[split]} or {LISTS[split]}" for split, path in found.items() if path is None]
    if missing:
        raise UserError(
            f"flickr30k: {folder}: {captions} does not say which images are for training and testing, and there is no "
            f"list {', '.join(missing)}; put the lists or {KARPATHY_FILE} there (docs/data.md)"
        )
    return {split: path for split, path in found.items() if path is not None}
