"""A folder of your own: `images/`, and `captions.csv` with the columns image and caption, a row a caption.

It is what `vialign signal` reads too. There are no published splits, so every split is dealt by seed, and no boxes,
relations, choices, questions or ratings.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, Problems, found_name, is_there, safe_join
from vialign.data.datasets.splits import CONFIRMATION, HELD_OUT, assign_splits
from vialign.data.published_files import (
    Record,
    SourceNote,
    csv_rows,
    read_photographs,
    records,
    require_file,
    require_folder,
)
from vialign.errors import UserError
from vialign.random import generator
from vialign.tables.data import CAPTIONS

NAME = "captioned"
NOTE = SourceNote(
    title="Pictures and captions of your own",
    licence="yours",
    obtain=(
        "put your pictures into a folder `images` and write `captions.csv` beside it: a first line `image,caption`, "
        "then a row a caption with the picture's name in `images`; a picture may have several rows, and a caption with "
        "commas stands in double quotes"
    ),
    files=("images/", "captions.csv"),
)
IMAGES, FILE, COLUMNS = "images", "captions.csv", ("image", "caption")
SHARES = {"test": 0.2, "validation": 0.2}
"""Of all images; `validation` becomes `gate` and `selection`, and the rest is divided as training images are."""
_ASIDE = 0.1
"""Of all images, at most, for each of confirmation, calibration and diagnosis."""


class _Row(Record):
    image: Annotated[str, Field(min_length=1)]
    caption: Annotated[str, Field(pattern=r"\S")]


def read(config: DataConfig, seed: int) -> DatasetTables:
    """Read the folder; a fifth of the images is for `test`, a fifth for `selection` and `gate`, the rest for training.

    `confirmation`, `calibration` and `diagnosis` take what published data sets give them, but of a small folder a tenth
    each; `data.sizes` says otherwise. Rows that name no picture or have no words are skipped, counted and listed in
    `problems`. Raises UserError when files are missing, when nothing is left for training, and at the first broken row
    when `data.strict`.
    """
    folder = require_folder(config.folder, NAME)
    problems = Problems(NAME, config.strict, tolerance=config.tolerance)
    if not (folder / IMAGES).is_dir():
        raise UserError(f"{NAME}: {folder}: has no folder {IMAGES} with the pictures; put them there")
    path = require_file(folder, [FILE], NAME)
    captions: list[tuple[str, str, str, None]] = []
    count: dict[str, int] = {}
    for label, row in records(csv_rows(path, COLUMNS, NAME), _Row, "captions", path.name, problems):
        name = _picture(folder / IMAGES, row.image.strip())
        if name is None:
            problems.add("captions", path.name, label, f"names image {row.image}, which is not in {IMAGES}")
            continue
        captions.append((f"{name}#{count.get(name, 0)}", name, row.caption.strip(), None))
        count[name] = count.get(name, 0) + 1
    listed = _deal(list(count), config.sizes, seed)
    settings = config.model_copy(update={"sizes": _aside(len(count)) | dict(config.sizes)})
    paths = {name: f"{IMAGES}/{name}" for name in count}
    images = read_photographs(assign_splits(listed, settings, seed, NAME, problems), paths, folder, problems)
    table = pd.DataFrame(captions, columns=list(CAPTIONS.columns))
    problems.report()
    return DatasetTables(
        images=images,
        captions=table[table["image_id"].isin(images["image_id"])].reset_index(drop=True),
        problems=problems.frame(),
        image_folder=folder,
    )


def _picture(folder: Path, name: str) -> str | None:
    """The name of a picture in the folder, links followed; None where there is no such file, or the name leads out."""
    try:
        safe_join(folder, name)
    except UserError:
        return None
    found = found_name(folder, os.path.normpath(name))
    return found if is_there(folder / found) else None


def _deal(names: list[str], sizes: Mapping[str, int], seed: int) -> dict[str, list[str]]:
    """Images dealt by seed to `test`, `validation` and `train`; the result depends on the names as a set."""
    order = [str(name) for name in generator(seed, NAME, "deal").permutation(sorted(names))]
    wanted = {split: round(share * len(names)) for split, share in SHARES.items()}
    wanted["test"] = sizes.get("test", wanted["test"])
    if {"selection", "gate"} <= set(sizes):
        wanted["validation"] = sizes["selection"] + sizes["gate"]
    parts: dict[str, list[str]] = {}
    for split, size in wanted.items():
        parts[split], order = order[:size], order[size:]
    return {**parts, "train": order}


def _aside(images: int) -> dict[str, int]:
    """Sizes of the splits that are cut from the training images."""
    wanted = {"confirmation": CONFIRMATION, **HELD_OUT}
    return {split: max(1, min(size, round(_ASIDE * images))) for split, size in wanted.items()}
