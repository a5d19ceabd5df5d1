"""Flickr8k (Hodosh, Young, Hockenmaier 2013, JAIR 47): photographs, five captions each, human ratings.

The folder as it is published: `images/` (or `Flicker8k_Dataset/`), `Flickr8k.token.txt`, the three official lists
`Flickr_8k.{train,dev,test}Images.txt` and `CrowdFlowerAnnotations.txt`; text files may lie in `Flickr8k_text/`.
There are no boxes, relations, choices or questions, so those tables stay empty.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vialign.config import DataConfig
from vialign.data.base import DatasetTables, Problems, safe_join
from vialign.errors import UserError
from vialign.progress import track
from vialign.random import generator
from vialign.tables import CAPTIONS, IMAGES, RATINGS

IMAGE_FOLDERS = ("images", "Flicker8k_Dataset")
CAPTION_FILE = "Flickr8k.token.txt"
RATING_FILE = "CrowdFlowerAnnotations.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
"""Split to the official list of its images."""

HELD_OUT = {"calibration": 300, "diagnosis": 500}
"""Images cut from the training list for each use, unless `data.sizes` says otherwise."""


def read(config: DataConfig, seed: int) -> DatasetTables:
    """Read the data set.

    The training images (only those of `data.tune_list`, where it is given) are divided by seed into calibration,
    diagnosis and train; the official dev and test lists are validation and test. `data.sizes` holds the most images
    that a split may have, drawn by seed. Broken rows are skipped, counted and listed in `problems`.
    Raises UserError when files are missing, when nothing is left for training, and at the first broken row when
    `data.strict`.
    """
    folder = _data_folder(config)
    problems = Problems("flickr8k", config.strict)
    image_folder = _first(folder, IMAGE_FOLDERS, "photographs")
    present = {path.name for path in image_folder.iterdir()}
    images = _read_images(_splits(config, folder, seed, present, problems), folder, image_folder, problems)
    captions = _read_captions(_text_file(folder, CAPTION_FILE), set(images["image_id"]), present, problems)
    ratings = _read_ratings(folder, set(images["image_id"]), set(captions["caption_id"]), problems)
    for line in problems.summary():
        print(f"vialign: {line}", file=sys.stderr)
    return DatasetTables(
        images=images, captions=captions, ratings=ratings, problems=problems.frame(), image_folder=folder
    )


def divide(names: list[str], sizes: dict[str, int], seed: int) -> dict[str, list[str]]:
    """Training images dealt by seed to `calibration`, `diagnosis` and, with what is left, `train`.

    The result depends on the names as a set, on the sizes and on the seed. Raises UserError when none is left.
    """
    order = [str(name) for name in generator(seed, "flickr8k", "divide").permutation(sorted(names))]
    held_out = {split: sizes.get(split, count) for split, count in HELD_OUT.items()}
    if sum(held_out.values()) >= len(order):
        raise UserError(
            f"config: data.sizes: {held_out} leave none of the {len(order)} training images for training; lower them"
        )
    parts: dict[str, list[str]] = {}
    for split, count in held_out.items():
        parts[split], order = order[:count], order[count:]
    parts["train"] = order[: sizes.get("train", len(order))]
    return parts


def _splits(config: DataConfig, folder: Path, seed: int, present: set[str], problems: Problems) -> dict[str, str]:
    """Image name to split."""
    listed: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for split, file in LISTS.items():
        listed[split] = []
        for line, name in _lines(_text_file(folder, file)):
            if not name.strip():
                continue
            name = name.strip()
            if name in owner:
                problems.add("list rows", file, f"line {line}", f"names image {name} again, which is in {owner[name]}")
            elif name not in present:
                problems.add("list rows", file, f"line {line}", f"names image {name}, which is not in images")
            else:
                owner[name] = split
                listed[split].append(name)
    if config.tune_list is not None:
        listed["train"] = _tuning(Path(config.tune_list), listed["train"], problems)
    parts = divide(listed["train"], config.sizes, seed)
    for split in ("validation", "test"):
        names = sorted(listed[split])
        limit = config.sizes.get(split, len(names))
        chosen = generator(seed, "flickr8k", split).permutation(len(names))[:limit]
        parts[split] = [names[place] for place in sorted(chosen)]
    return {name: split for split, names in parts.items() for name in sorted(names)}


def _tuning(path: Path, train: list[str], problems: Problems) -> list[str]:
    """The training images that the tuning list names."""
    if not path.is_file():
        raise UserError(f"flickr8k: data.tune_list {path}: no such file; name the list of images for tuning or drop it")
    official, chosen = set(train), dict[str, None]()
    for line, name in _lines(path):
        if not name.strip():
            continue
        if name.strip() in official:
            chosen[name.strip()] = None
        else:
            problems.add("tuning list rows", path.name, f"line {line}", f"{name.strip()} is not a training image here")
    return list(chosen)


def _read_images(splits: dict[str, str], folder: Path, image_folder: Path, problems: Problems) -> pd.DataFrame:
    """Size and path of every image; only the file's header is read."""
    from PIL import Image, UnidentifiedImageError

    rows = []
    for name, split in track(splits.items(), "read image sizes"):
        path = safe_join(image_folder, name)
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (UnidentifiedImageError, OSError) as error:
            problems.add("images", f"{image_folder.name}/{name}", "", f"cannot be read as an image ({error})")
            continue
        rows.append((name, split, str(path.relative_to(folder.resolve())), width, height))
    return pd.DataFrame(rows, columns=list(IMAGES.columns))


def _read_captions(path: Path, wanted: set[str], present: set[str], problems: Problems) -> pd.DataFrame:
    """Captions of the wanted images; those of images that are here but not used are left out without remark."""
    rows: dict[str, tuple[str, str, str, None]] = {}
    for line, content in _lines(path):
        caption_id, tab, text = content.partition("\t")
        image_id, mark, number = caption_id.rpartition("#")
        reason = None
        if not (tab and mark and number.isdigit()):
            reason = "is not `<image>#<number>`, a tab and a caption"
        elif image_id not in present:
            reason = f"names image {image_id}, which is not in images"
        elif not text.strip():
            reason = f"caption {caption_id} is empty"
        elif caption_id in rows:
            reason = f"caption {caption_id} appears twice"
        if reason is not None:
            problems.add("captions", f"captions file {path.name}", f"line {line}", reason)
        elif image_id in wanted:
            rows[caption_id] = (caption_id, image_id, text.strip(), None)
    return pd.DataFrame(list(rows.values()), columns=list(CAPTIONS.columns))


def _read_ratings(folder: Path, images: set[str], captions: set[str], problems: Problems) -> pd.DataFrame:
    """Mean share of people who said that the caption describes the image, for pairs of images and captions in use.

    Columns of the file: image, caption, share of yes, number of yes, number of no.
    """
    path = _find(folder, RATING_FILE)
    if path is None:
        problems.note(RATING_FILE, "", "not in the folder, so agreement with human ratings is not available")
        return RATINGS.empty()
    rows = []
    for line, content in _lines(path):
        fields = content.split("\t")
        try:
            image_id, caption_id, share = fields[0], fields[1], float(fields[2])
            if not 0 <= share <= 1:
                raise ValueError
        except (IndexError, ValueError):
            problems.add("ratings", path.name, f"line {line}", "is not image, caption and a share between 0 and 1")
            continue
        if image_id in images and caption_id in captions:
            rows.append((image_id, caption_id, share))
    frame = pd.DataFrame(rows, columns=list(RATINGS.columns))
    return frame.groupby(["image_id", "caption_id"], as_index=False, sort=False).mean() if rows else frame


def _data_folder(config: DataConfig) -> Path:
    if config.folder is None:
        raise UserError("config: data.folder is not set; flickr8k needs the folder it lies in (docs/data.md)")
    folder = Path(config.folder)
    if not folder.is_dir():
        raise UserError(
            f"flickr8k: {folder}: no such folder; download Flickr8k as docs/data.md says and set data.folder to it"
        )
    return folder


def _first(folder: Path, names: tuple[str, ...], what: str) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise UserError(f"flickr8k: {folder}: has no folder {' or '.join(names)} with the {what}; see docs/data.md")


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / "Flickr8k_text" / name) if path.is_file()), None)


def _text_file(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    if path is None:
        raise UserError(f"flickr8k: {folder}: has no file {name}; unpack Flickr8k_text there (docs/data.md)")
    return path


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file, numbered from 1."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"flickr8k: {path}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
