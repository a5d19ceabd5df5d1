"""Visual Genome (Krishna et al. 2017, IJCV 123): photographs with boxes, attributes, relations and region phrases.

The folder as it is published for versions 1.2 and 1.4: `image_data.json`, `objects.json`, `attributes.json`,
`relationships.json`, `region_descriptions.json`, the photographs in `VG_100K/` and `VG_100K_2/`, and, where wanted,
`object_alias.txt` and `relationship_alias.txt` (a line is a comma-separated group of names, the first of which stands
for all). The tables hold words, so the `*_synsets.json` files are not read.

A region phrase counts as a caption of the whole image when its region covers at least half of the image
(`visual_genome_annotations.CAPTION_COVERAGE`); an image without such a region has no caption.

About half of the photographs are COCO's too. When Karpathy's `dataset_coco.json` lies in the folder, those of its test
split are put aside, so that nothing trained here has seen an image that COCO is tested on.

The JSON files are read one after another; `visual_genome_annotations` says how much memory that takes.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import Field

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, Problems
from vialign.data.datasets.karpathy import read_karpathy
from vialign.data.datasets.splits import assign_splits
from vialign.data.datasets.visual_genome_annotations import NAME, read_captions, read_objects, read_relations
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
    require_file,
    require_folder,
    require_photographs,
)
from vialign.errors import UserError
from vialign.files.images import header_size
from vialign.progress import track
from vialign.random import generator

NOTE = SourceNote(
    title="Visual Genome (Krishna et al. 2017)",
    licence="annotations CC BY 4.0; the photographs belong to their authors on Flickr",
    obtain="Download version 1.2 or 1.4 and both parts of the photographs from "
    "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html and unpack all of it into one folder.",
    files=(
        "image_data.json",
        "objects.json",
        "attributes.json",
        "relationships.json",
        "region_descriptions.json",
        "VG_100K/ and VG_100K_2/",
        "object_alias.txt, relationship_alias.txt and dataset_coco.json where wanted",
    ),
    # Versions 1.2 and 1.4, as their download page says; version 1.0 had 108,249.
    expected={"images": 108077},
)
IMAGE_FOLDERS = ("VG_100K", "VG_100K_2", "images")
SPLIT_SIZES: Mapping[str, int] = {"selection": 600, "gate": 400, "test": 1000}
"""Images of the splits that the authors do not define, unless `data.sizes` says otherwise."""


class ImageRow(Record):
    """One image of `image_data.json`."""

    image_id: int
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    coco_id: int | None = None
    flickr_id: int | str | None = None


def photographs(folder: Path) -> dict[str, Numbers]:
    """Every image of `image_data.json` with its numbers at Visual Genome, and at COCO and Flickr where it says them.

    Raises UserError when there is no such file.
    """
    return {
        str(image_id): _numbers(row)
        for image_id, row in read_image_data(folder, NAME, Problems(NAME, strict=False)).items()
    }


def _numbers(row: ImageRow) -> Numbers:
    named = {"visual_genome": row.image_id, "coco": row.coco_id, "flickr": row.flickr_id}
    return frozenset(photograph_number(kind, value) for kind, value in named.items() if str(value).isdigit())


def read(config: DataConfig, seed: int, aside: Collection[str] = ()) -> DatasetTables:
    """Read the data set, without the images `aside`.

    The images are dealt by seed (`deal`); `data.tune_list` and `data.sizes` limit the splits as they limit official
    ones (`assign_splits`). Names, attributes and predicates are in lower case, names and predicates replaced by the
    first of their aliases; boxes are clipped to the image. Broken rows are skipped, counted and listed in `problems`;
    what belongs to images that are not in use is left out without remark.
    Raises UserError when files are missing, when no image is left for training, and at the first broken row when
    `data.strict`.
    """
    folder = require_folder(config.folder, NAME)
    problems = Problems(NAME, config.strict, tolerance=config.tolerance)
    published = read_image_data(folder, NAME, problems)
    images = read_images(folder, published, config, seed, problems, aside)
    in_use = set(images["image_id"])
    sizes = {number: (row.width, row.height) if str(number) in in_use else None for number, row in published.items()}
    objects, owners = read_objects(folder, sizes, problems)
    relations = read_relations(folder, sizes, owners, problems)
    captions = read_captions(folder, sizes, problems)
    problems.report()
    return DatasetTables(
        images=images,
        captions=captions,
        objects=objects,
        relations=relations,
        problems=problems.frame(),
        image_folder=folder,
    )


def read_image_data(folder: Path, dataset: str, problems: Problems) -> dict[int, ImageRow]:
    """The published images by their number."""
    path = require_file(folder, ["image_data.json"], dataset)
    images: dict[int, ImageRow] = {}
    rows = numbered(json_list(read_json(path, dataset), path, dataset), "images")
    for label, row in records(rows, ImageRow, "images", path.name, problems):
        if row.image_id in images:
            problems.add("images", path.name, label, f"image {row.image_id} appears twice")
        else:
            images[row.image_id] = row
    return images


def read_images(
    folder: Path,
    published: Mapping[int, ImageRow],
    config: DataConfig,
    seed: int,
    problems: Problems,
    aside: Collection[str] = (),
) -> pd.DataFrame:
    """IMAGES of the splits; a photograph that is missing, unreadable or of another size is counted as a problem."""
    files = image_paths(folder, IMAGE_FOLDERS, NAME)
    named = [f"{number}.jpg" for number in published]
    require_photographs(named, files, "image_data.json", folder, IMAGE_FOLDERS, NAME)
    tested = coco_test_images(folder, published, NAME, problems, looked_for=bool(aside))
    paths = {}
    for number in published:
        file = f"{number}.jpg"
        if file not in files:
            problems.add("images", "image_data.json", f"image {number}", f"names image {file}, which is not there")
        elif number not in tested and str(number) not in aside:
            paths[str(number)] = files[file]
    paths = _of_right_size(paths, folder, published, problems)
    if not paths:
        raise UserError(
            f"{NAME}: {folder / 'image_data.json'}: names no image that can be used: all that are there are in COCO's "
            "Karpathy test split, or it names none; download it again, or take dataset_coco.json away"
        )
    splits = assign_splits(deal(list(paths), config.sizes, seed, NAME), config, seed, NAME, problems)
    return read_photographs(splits, paths, folder, problems)


def _of_right_size(
    paths: Mapping[str, str], folder: Path, published: Mapping[int, ImageRow], problems: Problems
) -> dict[str, str]:
    """The photographs whose head can be read and states the published size.

    It is asked before the images are dealt, so that a split does not end up with those that are broken.
    """
    kept = {}
    for name, path in track(paths.items(), "read the heads of the photographs", total=len(paths)):
        found, row = header_size(folder / path), published[int(name)]
        if found != (row.width, row.height):
            problems.saw("image files")  # `read_photographs` counts the others
        if isinstance(found, str):
            problems.add("image files", str(Path(path).parent), name, f"{path} {found}")
        elif found != (row.width, row.height):
            reason = f"has {found[0]}x{found[1]} pixels, but image_data.json says {row.width}x{row.height}"
            problems.add("image files", path, "", f"{reason}, so its boxes would be wrong")
        else:
            kept[name] = path
    return kept


def coco_test_images(
    folder: Path, published: Mapping[int, ImageRow], dataset: str, problems: Problems, looked_for: bool = False
) -> set[int]:
    """Numbers of the images that are in COCO's Karpathy test split (`dataset_coco.json`); a note counts them.

    A note says so where the file is missing, unless the run has looked for its own test images already.
    """
    path = find_file(folder, ["dataset_coco.json"])
    if path is None:
        if not looked_for:
            text = "not in the folder, so images that COCO is tested on may be in any split"
            problems.note("dataset_coco.json", "", text)
        return set()
    test = {image.cocoid for image in read_karpathy(path, dataset, problems) if image.split == "test"} - {None}
    aside = {number for number, row in published.items() if row.coco_id in test}
    problems.note(path.name, "", f"{len(aside)} images are in COCO's Karpathy test split and were put aside")
    return aside


def deal(names: Sequence[str], sizes: Mapping[str, int], seed: int, dataset: str) -> dict[str, list[str]]:
    """Images dealt by seed to `selection`, `gate`, `test` (`SPLIT_SIZES` or `sizes`) and, with what is left, `train`.

    It stands for the official splits, which Visual Genome does not have.
    """
    order = [str(name) for name in generator(seed, dataset, "deal").permutation(sorted(names))]
    parts: dict[str, list[str]] = {}
    for split, count in SPLIT_SIZES.items():
        size = sizes.get(split, count)
        parts[split], order = order[:size], order[size:]
    return {**parts, "train": order}
