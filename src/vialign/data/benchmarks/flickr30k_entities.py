"""Flickr30k Entities (Plummer et al. 2017, arXiv:1505.04870): which boxes the phrases of a caption are about.

As published: `Sentences/<image>.txt`, five captions whose phrases stand as `[/EN#<chain>/<type>.../<type> words]`;
`Annotations/<image>.xml`, the boxes of every chain; `test.txt`, the images of the test split, by number; and the
photographs of Flickr30k. A phrase may be about several boxes. Chain 0 and chains without a box (scenes, what cannot be
seen) are not pointed at. The phrases become objects, whose names are the phrases, so that the pointing game
(`vialign.features.readout`) can be played with them; the captions are those of a retrieval split.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vialign.config.data import BenchmarkConfig
from vialign.data.base import DatasetTables, Problems, image_table
from vialign.data.benchmarks.items import find_images
from vialign.data.datasets.splits import at_most
from vialign.data.published_files import SourceNote, image_sizes, require_file, require_folder, text_lines
from vialign.errors import UserError, reading
from vialign.files.text import read_text
from vialign.progress import track
from vialign.tables.data import CAPTIONS, OBJECTS

SPLIT = "flickr30k_entities"
IMAGES_FROM = "the images are those of Flickr30k (https://shannon.cs.illinois.edu/DenotationGraph/)"
NOTE = SourceNote(
    title="Flickr30k Entities",
    licence="non-commercial research and education; the photographs belong to their authors on Flickr",
    obtain=f"annotations.zip and test.txt of https://github.com/BryanPlummer/flickr30k_entities; {IMAGES_FROM}.",
    files=("Annotations/", "Sentences/", "test.txt", "flickr30k-images/ or flickr30k_images/ or images/"),
    expected={"images": 1000, "captions": 5000},
    measures="the pointing game: whether the patch most similar to a phrase lies in one of its boxes",
    chance={"pointing": float("nan")},
)
"""Chance is the share of an image that the boxes of a phrase cover, so it differs by phrase and is measured."""

_PHRASE = re.compile(r"\[/EN#(?P<chain>[0-9]+)(?P<types>(?:/[^\s/\]]+)+)\s+(?P<words>[^\[\]]+)\]")
_NAME = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True)
class Phrase:
    """A phrase of a caption."""

    chain: str
    """Number of the thing that it is about; `0` for what has no box by design."""
    types: tuple[str, ...]
    """Its coarse categories, such as `people`."""
    text: str


def read(config: BenchmarkConfig, seed: int) -> DatasetTables:
    """Read the test images whose photographs are there, at most `config.items` of them, with captions and phrases.

    Raises UserError when files are missing, and at the first broken row when `config.strict`.
    """
    folder = require_folder(config.folder, SPLIT, f"data.benchmarks.{SPLIT}.folder")
    problems = Problems(SPLIT, config.strict, f"data.benchmarks.{SPLIT}.strict", config.tolerance)
    names = _test_images(folder, problems)
    places = ("flickr30k-images", "flickr30k_images", "images")
    files = find_images(config, SPLIT, places, IMAGES_FROM, ".jpg")
    sizes = image_sizes(files.folder / files.place, [f"{name}.jpg" for name in names], problems)
    problems.saw("images", len(names))
    there = []
    for name in names:
        size = sizes[f"{name}.jpg"]
        if isinstance(size, str):
            problems.add("images", "test.txt", name, size)
        else:
            there.append(name)
    images: list[tuple[str, str, str, int, int]] = []
    captions: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for name in track(at_most(there, config.items, seed, SPLIT, "images"), "read flickr30k_entities phrases"):
        size = sizes[f"{name}.jpg"]
        assert not isinstance(size, str)
        image_id = f"{SPLIT}/{name}.jpg"
        images.append((image_id, SPLIT, str(Path(files.place, f"{name}.jpg")), *size))
        sentences = list(_sentences(folder, name, problems))
        captions += [
            {"caption_id": f"{image_id}#{number}", "image_id": image_id, "text": text, "tree": None}
            for number, text, _ in sentences
        ]
        objects += _objects(folder, name, image_id, sentences, problems)
    if not images:
        raise UserError(f"{SPLIT}: {files.folder}: none of {len(names)} test images is there; {IMAGES_FROM}")
    problems.report()
    return DatasetTables(
        images=image_table(images),
        captions=pd.DataFrame(captions, columns=list(CAPTIONS.columns)),
        objects=pd.DataFrame(objects, columns=list(OBJECTS.columns)),
        problems=problems.frame(),
        image_folder=files.folder,
    )


def read_items(folder: Path, problems: Problems) -> pd.DataFrame:
    """The test images (column `image`): phrases are pointed at, not chosen. Raises UserError without `test.txt`."""
    return pd.DataFrame({"image": _test_images(folder, problems)})


def parse_sentence(line: str) -> tuple[str, list[Phrase]]:
    """A caption without its brackets, and its phrases. Raises ValueError for brackets that are none of a phrase."""
    phrases = [
        Phrase(found["chain"], tuple(found["types"].strip("/").split("/")), " ".join(found["words"].split()))
        for found in _PHRASE.finditer(line)
    ]
    plain = _PHRASE.sub(lambda found: found["words"], line)
    if "[" in plain or "]" in plain:
        raise ValueError("has brackets that are not `[/EN#<chain>/<type> words]`")
    return " ".join(plain.split()), phrases


def parse_boxes(root: ElementTree.Element) -> dict[str, list[tuple[float, float, float, float]]]:
    """Chain to its boxes (x, y, width, height in pixels from 0) of an annotation file.

    The file counts pixels from 1 and names the last pixel, not the edge behind it. Raises ValueError for a box that is
    none.
    """
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for thing in root.iter("object"):
        box = thing.find("bndbox")
        if box is None:
            continue
        ends = [box.findtext(name) for name in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x0, y0, x1, y1 = (float(int(end or "")) for end in ends)
        except ValueError:
            raise ValueError(f"field bndbox: {ends} are not four whole numbers") from None
        if not (1 <= x0 <= x1 and 1 <= y0 <= y1 and max(x1, y1) < 1e6):
            raise ValueError(f"field bndbox: {ends} is not a box")
        for chain in thing.findall("name"):
            boxes.setdefault((chain.text or "").strip(), []).append((x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1))
    return boxes


def _test_images(folder: Path, problems: Problems) -> list[str]:
    path = require_file(folder, ("test.txt",), SPLIT)
    names: dict[str, None] = {}
    for number, line in text_lines(path, SPLIT):
        name = line.strip()
        if not name:
            continue
        problems.saw("names")
        if _NAME.fullmatch(name) is None or name in names:
            problems.add("names", path.name, f"line {number}", f"{name[:50]!r} is no image number, or stands twice")
            continue
        names[name] = None
    return list(names)


def _sentences(folder: Path, name: str, problems: Problems) -> Iterator[tuple[int, str, list[Phrase]]]:
    """Number, text and phrases of every caption of an image."""
    path = folder / "Sentences" / f"{name}.txt"
    problems.saw("sentences")
    if not path.is_file():
        problems.add("sentences", f"Sentences/{name}.txt", "", "is not there, so the image has no caption")
        return
    for number, line in text_lines(path, SPLIT):
        if not line.strip():
            continue
        problems.saw("sentences")
        try:
            text, phrases = parse_sentence(line)
        except ValueError as error:
            problems.add("sentences", f"Sentences/{name}.txt", f"line {number}", str(error))
            continue
        yield number, text, phrases


def _objects(
    folder: Path, name: str, image_id: str, sentences: list[tuple[int, str, list[Phrase]]], problems: Problems
) -> Iterator[dict[str, Any]]:
    """OBJECTS of the phrases of an image, a row a phrase and box; the same phrase of the same chain once."""
    path = folder / "Annotations" / f"{name}.xml"
    problems.saw("annotations")
    if not path.is_file():
        problems.add("annotations", f"Annotations/{name}.xml", "", "is not there, so no phrase of the image has a box")
        return
    try:
        with reading(path, "get it again", SPLIT):
            boxes = parse_boxes(_xml(path))
    except UserError as error:
        problems.add("annotations", f"Annotations/{name}.xml", "", str(error))
        return
    told = dict.fromkeys((phrase.chain, phrase.text) for _, _, phrases in sentences for phrase in phrases)
    row = 0
    for chain, text in told:
        for x, y, width, height in boxes.get(chain, ()):
            number = f"{image_id}/{row}"
            row += 1
            yield dict(zip(OBJECTS.columns, (number, image_id, text, x, y, width, height, []), strict=True))


def _xml(path: Path) -> ElementTree.Element:
    """The root of an annotation file. Raises UserError when it is no XML, or declares entities."""
    content = read_text(path, SPLIT)
    if "<!" in content:
        raise UserError(f"{SPLIT}: {path}: holds a declaration, which the published files do not; get it again")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UserError(f"{SPLIT}: {path}: is not XML ({error}); get it again") from None
