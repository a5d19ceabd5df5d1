"""The splits of Karpathy and Fei-Fei (2015, CVPR) for COCO, Flickr30k and Flickr8k, on which retrieval is compared.

`dataset_{coco,flickr30k,flickr8k}.json` (https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip)
hold, under `images`, an entry an image: `filename`, `split` (train, restval, val, test), `sentences` with the caption
as published in `raw`, and, for COCO, its number `cocoid`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, StringConstraints

from vialign.data.base import Problems
from vialign.data.published_files import Record, json_list, numbered, read_json, records
from vialign.progress import track
from vialign.tables.data import CAPTIONS

SPLITS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
"""Split in the file to the published one; `restval` is what COCO's validation images leave, and is trained on."""


@dataclass(frozen=True)
class KarpathyImage:
    """One image of the file."""

    row: str
    """Where it stands in the file, such as `images[12]`."""
    name: str
    """File name, which is the image's id."""
    split: str
    """train, validation or test."""
    captions: tuple[tuple[int, str], ...]
    """Number among the image's sentences, from 0, and the caption as published."""
    cocoid: int | None
    """COCO's number of the image; None elsewhere."""


class _Image(Record):
    filename: Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f]+$")]
    split: Literal["train", "restval", "val", "test"]
    sentences: list[Any]
    cocoid: int | None = None


class _Sentence(Record):
    raw: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def read_karpathy(path: Path, dataset: str, problems: Problems) -> list[KarpathyImage]:
    """Every image of the file with every caption; broken rows are counted as problems.

    Raises UserError when the file is not JSON or holds no list of images.
    """
    rows = json_list(read_json(path, dataset), path, dataset, "images")
    images: dict[str, KarpathyImage] = {}
    found = records(numbered(rows, "images"), _Image, "images", path.name, problems)
    for row, image in track(found, f"read {path.name}", total=len(rows)):
        if image.filename in images:
            problems.add("images", path.name, row, f"image {image.filename} appears twice")
            continue
        captions = tuple(_captions(image, row, path.name, problems))
        images[image.filename] = KarpathyImage(row, image.filename, SPLITS[image.split], captions, image.cocoid)
    return list(images.values())


def listed_and_captions(
    images: Iterable[KarpathyImage], present: Mapping[str, str], file: str, problems: Problems
) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Split to the names of its images that are present, and CAPTIONS of these; each other image is a problem."""
    listed: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    captions = []
    for image in images:
        if image.name not in present:
            problems.add("images", file, image.row, f"names image {image.name}, which is not in images")
            continue
        listed[image.split].append(image.name)
        captions += [(f"{image.name}#{number}", image.name, text, None) for number, text in image.captions]
    return listed, pd.DataFrame(captions, columns=list(CAPTIONS.columns))


def _captions(image: _Image, row: str, file: str, problems: Problems) -> Iterator[tuple[int, str]]:
    for number, sentence in enumerate(image.sentences):
        # One at a time, so that a broken caption keeps neither the image nor the next number from being read.
        place = [(f"{row}.sentences[{number}]", sentence)]
        for _, caption in records(place, _Sentence, "captions", file, problems):
            yield number, caption.raw
