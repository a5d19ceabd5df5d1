"""Which photograph an image is: data sets share photographs, each under names of its own.

Visual Genome is made of COCO's photographs and of others from Flickr, and benchmarks are made of both. What tells that
two images are the same is a number: that of COCO, of Flickr, or of Visual Genome.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import pandas as pd

Numbers = frozenset[str]
"""The numbers of a photograph, such as `coco:391895` and `flickr:2340698629`; none where nothing tells."""

_FORMS = (
    (re.compile(r"COCO_[a-z]+2014_(\d{12})"), "coco"),
    (re.compile(r"(\d{12})"), "coco"),  # COCO's names of 2017
    (re.compile(r"v7w_(\d+)"), "visual_genome"),  # Visual7W
    (re.compile(r"(\d+)_[0-9a-f]{10}"), "flickr"),  # Flickr8k
)
"""Names of files that say by themselves whose number they hold."""
_NUMBERED = {
    **dict.fromkeys(("flickr30k", "flickr30k_entities"), "flickr"),
    **dict.fromkeys(("visual_genome", "vg200", "aro", "vl_checklist", "cola", "whatsup"), "visual_genome"),
}
"""Data sets and benchmarks whose files are called by a bare number, and whose number it is."""
_BARE = re.compile(r"\d{1,11}")


def photograph_number(kind: str, value: object) -> str:
    """One number of a photograph; `kind` is `coco`, `flickr` or `visual_genome`."""
    return f"{kind}:{int(str(value))}"


def named_by_file(path: str, source: str) -> Numbers:
    """The number that the name of a file holds; `source` is the data set or benchmark that it is of."""
    stem = PurePosixPath(path).stem
    for form, kind in _FORMS:
        found = form.fullmatch(stem)
        if found is not None:
            return frozenset([photograph_number(kind, found[1])])
    bare = source in _NUMBERED and _BARE.fullmatch(stem) is not None
    return frozenset([photograph_number(_NUMBERED[source], stem)]) if bare else frozenset()


def numbers_in_use(images: pd.DataFrame, dataset: str, published: Mapping[str, Numbers]) -> pd.DataFrame:
    """Split and numbers of every photograph of IMAGES: columns `split`, `numbers`, a row a file.

    `dataset` is the run's data set, of which `published` holds the numbers by image where its own files tell more than
    the names do.
    """
    files = images.drop_duplicates(["split", "source", "path"])
    own = [dataset if source == "data" else source for source in files["source"]]
    found = [
        (published.get(image_id) if source == dataset else None) or named_by_file(path, source)
        for image_id, path, source in zip(files["image_id"], files["path"], own, strict=True)
    ]
    return pd.DataFrame({"split": files["split"].to_numpy(), "numbers": pd.Series(found, dtype=object)})


def shared_with(photographs: Mapping[str, Numbers], used: pd.DataFrame) -> dict[str, set[str]]:
    """Split to the images of `photographs` (image to numbers) that share a number with a row of it in `used`.

    `used` is as `numbers_in_use` gives it; every split of it has an entry.
    """
    images_of: dict[str, set[str]] = {}
    for image_id, numbers in photographs.items():
        for name in numbers:
            images_of.setdefault(name, set()).add(image_id)
    found: dict[str, set[str]] = {}
    for split, group in used.groupby("split", sort=False):
        wanted = {name for numbers in group["numbers"] for name in numbers}
        found[str(split)] = {image_id for name in wanted for image_id in images_of.get(name, ())}
    return found
