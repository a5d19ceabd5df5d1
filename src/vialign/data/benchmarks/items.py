"""What the readers of benchmarks with images of their own share: from published items to tables."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, StringConstraints

from vialign.config.data import BenchmarkConfig
from vialign.data.base import BOX_TOLERANCE, DatasetTables, Problems, image_table
from vialign.data.datasets.splits import at_most
from vialign.data.folders import benchmark_folder
from vialign.data.published_files import find_file, image_sizes, photograph_folders, require_folder, subfolders
from vialign.errors import UserError
from vialign.tables.data import CAPTIONS, CHOICES

ITEM_COLUMNS = (*CHOICES.columns, "crop", "file", "row")
"""What `read_items` of every benchmark gives: CHOICES, where `images` holds the published names in place of image ids;
`crop`: x, y, width and height in pixels of the part of the image that is seen (empty: all of it); and the file and the
row that say so."""

PAIRS_CHANCE = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6, "match": 1 / 2}
"""What guessing reaches on two images with two captions: of the four scores, both right ones are the largest in one
order of six (Thrush et al. 2022; Zhu et al. 2025, arXiv:2510.07632, for `match`)."""
_LONGEST_NAME = 255
"""Bytes that a file system takes."""


def _file_name(name: str) -> str:
    if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        raise ValueError("cannot name a file")
    return name


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A caption or a label; it may not be empty."""
FileName = Annotated[str, AfterValidator(_file_name)]
"""A file as the data name it. Whether it stays inside its folder is checked where it is looked up."""


def item_row(
    benchmark: str,
    split: str,
    number: object,
    images: Sequence[str],
    texts: Sequence[str],
    *,
    file: str,
    row: str,
    tag: str = "",
    right: int | None = None,
) -> dict[str, Any]:
    """One row of `ITEM_COLUMNS` whose images are seen whole; `number` is what its authors call the item."""
    return {
        "item_id": f"{benchmark}/{split}/{number}",
        "benchmark": benchmark,
        "split": split,
        "tag": tag,
        "images": list(images),
        "texts": list(texts),
        "right": right,
        "crop": [],
        "file": file,
        "row": row,
    }


def item_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame of `item_row`s."""
    return pd.DataFrame(rows, columns=list(ITEM_COLUMNS))


def place_of(label: str) -> str:
    """`17` of the label `items[17]`, `row 17` or `line 17`."""
    return label.rstrip("]").rpartition("[")[2].rpartition(" ")[2]


def read_tables(
    split: str,
    read_items: Callable[[Path, Problems], pd.DataFrame],
    places: Sequence[str],
    obtain: str,
    config: BenchmarkConfig,
    seed: int,
    suffix: str = "",
) -> DatasetTables:
    """What `read` of a benchmark gives: the items of its folder whose images are there, and those images.

    `places`, `obtain` and `suffix` are those of `find_images`. Raises UserError when files are missing, and at the
    first broken row when `config.strict`.
    """
    folder = require_folder(config.folder, split, f"data.benchmarks.{split}.folder")
    problems = Problems(split, config.strict, f"data.benchmarks.{split}.strict", config.tolerance)
    items = read_items(folder, problems)
    files = find_images(config, split, places, obtain, suffix)
    return benchmark_tables(items, files, config, seed, problems)


@dataclass(frozen=True)
class ImageFiles:
    """Where the images of a benchmark lie."""

    folder: Path
    """What `path` of IMAGES is relative to (`benchmark_folder`)."""
    place: str
    """The folder in it that published names are relative to; empty: itself."""
    suffix: str
    """What the published names leave out at their end."""


def part_files(folder: Path, names: Mapping[str, str], inside: str, split: str, problems: Problems) -> dict[str, Path]:
    """Where the file of each part of a benchmark lies, in the folder or in `inside` of it, for the parts that are here.

    Parts whose file is not there are noted. Raises UserError when none is.
    """
    found = {part: find_file(folder, (name, f"{inside}/{name}")) for part, name in names.items()}
    missing = [names[part] for part, path in found.items() if path is None]
    if len(missing) == len(names):
        raise UserError(f"{split}: {folder}: has none of the files {', '.join(missing)}; see docs/data.md")
    if missing:
        problems.note(", ".join(missing), "", "not in the folder, so these benchmarks are left out")
    return {part: path for part, path in found.items() if path is not None}


def one_image_two_texts(choice: Mapping[str, Any]) -> tuple[str, str, str]:
    """Image id, true and wrong text of a CHOICES row. Raises ValueError when it has another form."""
    if len(choice["images"]) != 1 or len(choice["texts"]) != 2:
        raise ValueError(f"{choice['item_id']}: is not one image with two texts")
    return choice["images"][0], choice["texts"][0], choice["texts"][1]


def find_images(
    config: BenchmarkConfig, benchmark: str, names: Sequence[str], obtain: str, suffix: str = ""
) -> ImageFiles:
    """The folder of a benchmark's images: the first of `names` in `benchmark_folder`, or `config.images` itself.

    Raises UserError that says how to get them when there is none.
    """
    key = f"data.benchmarks.{benchmark}.images"
    root = benchmark_folder(config)
    if not root.is_dir():
        raise UserError(f"{benchmark}: {root}: no such folder; {obtain}; set {key} to where they are")
    place = next(iter(photograph_folders(root, names)), None)
    if place is None and config.images is None:
        raise UserError(
            f"{benchmark}: {root}: has no folder {' or '.join(names)}; {obtain}; put them there, or set {key}"
        )
    return ImageFiles(root, place or "", suffix)


def benchmark_tables(
    items: pd.DataFrame, files: ImageFiles, config: BenchmarkConfig, seed: int, problems: Problems
) -> DatasetTables:
    """The items whose images are there, at most `config.items` of each benchmark (drawn by seed), and those images.

    An item without its image, or whose crop is empty or leaves it, is a problem. The log gets all problems summed up.
    Raises UserError when no item is left.
    """
    names = dict.fromkeys(chain.from_iterable(items["images"]))
    files = _one_level_down(files, names)
    folder = files.folder / files.place
    found = image_sizes(folder, [name + files.suffix for name in names], problems)
    sizes = {name: found[name + files.suffix] for name in names}
    keep = []
    for item in items.to_dict("records"):
        reason = next((said for name in item["images"] if (said := _image_problem(sizes[name], item["crop"]))), None)
        keep.append(reason is None)
        if reason is not None:
            problems.add("items", item["file"], item["row"], reason)
    there = items[pd.Series(keep, index=items.index, dtype=bool)]
    if there.empty:
        reason = next(iter(problems.summary()), "its files are empty")
        raise UserError(f"{problems.dataset}: {folder}: none of {len(items)} items can be shown; {reason}")
    _note_ties(there, problems)
    chosen: set[str] = set()
    for benchmark, group in there.groupby("benchmark"):
        chosen.update(at_most(group["item_id"].tolist(), config.items, seed, problems.dataset, str(benchmark)))
    used = there[there["item_id"].isin(chosen)].reset_index(drop=True)
    images, image_ids = _images(used, files, sizes)
    problems.report()
    return DatasetTables(
        images=images,
        captions=CAPTIONS.empty(),
        choices=used.assign(images=pd.Series(image_ids, dtype=object))[list(CHOICES.columns)],
        problems=problems.frame(),
        image_folder=files.folder,
    )


def _one_level_down(files: ImageFiles, names: Iterable[str]) -> ImageFiles:
    """The files themselves where any of them is there, else those of the first folder below that has one."""
    for place in (
        files.place,
        *(str(PurePosixPath(files.place, part)) for part in subfolders(files.folder / files.place)),
    ):
        if any(_is_file(files.folder / place / (name + files.suffix)) for name in names):
            return replace(files, place=place)
    return files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _images(
    items: pd.DataFrame, files: ImageFiles, sizes: Mapping[str, tuple[int, int] | str]
) -> tuple[pd.DataFrame, list[list[str]]]:
    """IMAGES, one row for every image (or part of one) that the items show, and the image ids of every item."""
    rows: dict[str, tuple[str, str, str, int, int]] = {}
    crops: dict[str, list[float]] = {}
    image_ids: list[list[str]] = []
    for item in items.to_dict("records"):
        split, crop = item["split"], item["crop"]
        image_ids.append([])
        for name in item["images"]:
            part = "@" + ",".join(f"{number:.12g}" for number in crop) if crop else ""
            image_id = f"{split}/{name}{part}"
            size = sizes[name]
            assert not isinstance(size, str)
            path = str(PurePosixPath(files.place, name + files.suffix))
            rows[image_id] = (image_id, split, path, *(_pixels(crop) if crop else size))
            crops[image_id] = crop
            image_ids[-1].append(image_id)
    return image_table(list(rows.values()), crops=list(crops.values())), image_ids


def _pixels(crop: Sequence[float]) -> tuple[int, int]:
    """Width and height of a crop, rounded as `vialign.features.pixels.cropped` does."""
    x, y, width, height = crop
    return round(x + width) - round(x), round(y + height) - round(y)


def _image_problem(size: tuple[int, int] | str, crop: Sequence[float]) -> str | None:
    """Why an image cannot be shown, or that part of it; nothing when it can."""
    if isinstance(size, str):
        return size
    if not len(crop):
        return None
    x, y, width, height = crop
    inside = min(x, y) >= -BOX_TOLERANCE
    inside = inside and x + width <= size[0] + BOX_TOLERANCE and y + height <= size[1] + BOX_TOLERANCE
    if inside and min(_pixels(crop)) >= 1:
        return None
    return f"its box is empty or leaves the {size[0]}x{size[1]} image"


def _tied(item: Mapping[Any, Any]) -> bool:
    """Whether a wrong text is also a true one."""
    right = len(item["images"]) if pd.isna(item["right"]) else int(item["right"])
    texts = item["texts"]
    return bool(set(texts[:right]) & set(texts[right:])) or (len(item["images"]) == 2 and len(set(texts)) < len(texts))


def _note_ties(items: pd.DataFrame, problems: Problems) -> None:
    """Say how many items nobody can win; they stay, because published numbers count them."""
    tied = Counter(item["file"] for item in items.to_dict("records") if _tied(item))
    for file, count in sorted(tied.items()):
        problems.note(file, "", f"items whose wrong text is the true one, so that they always tie: {count}; kept")
