"""Region features that detectors wrote for others to use: boxes of an image and a feature vector for each.

Four published forms are read, all with boxes in pixels of the original image and features in float32 (as base64 of
little-endian numbers in the TSV files, which have no header):

- bottom-up attention (Anderson et al. 2018, CVPR): a TSV file with the columns `COLUMNS`;
- VinVL (Zhang et al. 2021, CVPR), as downloaded for retrieval: `features.tsv` (image, number of boxes, features)
  beside `predictions.tsv` (image, JSON with `image_w`, `image_h` and `objects` of `class` and `rect`);
- VinVL, as written for captioning: `<name>.feature.tsv` (image, JSON with `num_boxes` and `features`) beside
  `<name>.label.tsv` (image, JSON list of `class` and `rect`) and `<name>.hw.tsv` (image, JSON list of one `height` and
  `width`);
- a folder of `<image>.npz` (`vialign.data.regions.regions_npz`).

Such files have tens of gigabytes: they are read line by line, never whole.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from jaxtyping import Float32
from pydantic import Field, ValidationError, model_validator

from vialign.data.published_files import Record, SourceNote, find_file
from vialign.data.regions.indexed_tsv import Places, Row, index_rows, read_row
from vialign.data.regions.region_features import RegionFeatures, check_boxes, check_features, check_whole_number
from vialign.data.regions.regions_npz import read_npz, region_files
from vialign.errors import UserError, reading
from vialign.files.text import CUT_OFF, NotJson, parse_json

NOTE = SourceNote(
    title="Region features of bottom-up attention (Anderson et al. 2018) and VinVL (Zhang et al. 2021)",
    licence="as their authors publish them (both projects: MIT); the photographs belong to their authors",
    obtain="Download the features of your images as https://github.com/peteanderson80/bottom-up-attention or "
    "https://github.com/microsoft/Oscar (VinVL_DOWNLOAD.md) say, or write them with a detector of your own.",
    files=("<name>.tsv or features.tsv and predictions.tsv or <image>.npz",),
)
COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
"""Of the bottom-up attention file."""

Positive = Annotated[int, Field(ge=1)]


class Detection(Record):
    """One region of a VinVL label file."""

    label: str = Field(alias="class")
    rect: tuple[float, float, float, float]


class Prediction(Record):
    """The regions of an image in a VinVL label file; the captioning form is their list alone, without the size."""

    objects: list[Detection]
    image_w: Positive | None = None
    image_h: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"objects": value} if isinstance(value, list) else value


class ImageSides(Record):
    """Size of an image in a VinVL `hw` file, a list of one."""

    width: Positive
    height: Positive

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return value[0] if isinstance(value, list) and len(value) == 1 else value


class FeatureCell(Record):
    """The features of an image in the captioning form of VinVL."""

    num_boxes: Positive
    features: str


Companions = Mapping[str, tuple[Path, Places]]
"""The indexed files beside VinVL features, by what they hold: `labels`, `sizes`."""
AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True)
class RegionIndex:
    """A TSV file whose images can be read one by one, in any order."""

    path: Path
    places: Places
    companions: Companions

    @property
    def names(self) -> Set[str]:
        """The images it has, as it names them."""
        return self.places.keys()

    def read(self, image_id: str) -> RegionFeatures:
        """The regions of one image. Raises UserError when the file has none of it or they are broken."""
        with reading(self.path, "write it again"):
            return _parse(read_row(self.path, self.places, image_id), self.companions)


@dataclass(frozen=True)
class RegionFolder:
    """The same of a folder of npz files."""

    path: Path
    files: Mapping[str, Path]

    @property
    def names(self) -> Set[str]:
        """The images it has, as it names them."""
        return self.files.keys()

    def read(self, image_id: str) -> RegionFeatures:
        """The regions of one image. Raises UserError when its file is broken."""
        return read_npz(self.files[image_id])


def index_regions(path: str | Path) -> RegionIndex | RegionFolder:
    """Where each image of a TSV file starts, or its file in a folder of npz files.

    One pass over a TSV file, which keeps names and numbers only. Raises UserError when there is nothing to read.
    """
    path = Path(path)
    if path.is_dir():
        return RegionFolder(path, region_files(path))
    return RegionIndex(path, index_rows(path), _companions(path))


def _companions(path: Path) -> Companions:
    """None beside a bottom-up attention file."""
    match = re.fullmatch(r"(.*?)features?\.tsv", path.name)
    if match is None:
        return {}
    beside = {"labels": ("predictions.tsv", "label.tsv"), "sizes": ("hw.tsv",)}
    found = {what: find_file(path.parent, [match[1] + name for name in names]) for what, names in beside.items()}
    return {what: (file, index_rows(file)) for what, file in found.items() if file is not None}


def _parse(row: Row, companions: Companions) -> RegionFeatures:
    """The regions of a row, whose form its number of columns tells."""
    if len(row.cells) in (2, 3):
        return _parse_vinvl(row, companions)
    if len(row.cells) != len(COLUMNS):
        known = f"bottom-up attention has {len(COLUMNS)} ({', '.join(COLUMNS)}), VinVL features have two or three"
        raise UserError(f"{row.place}: has {len(row.cells)} columns; {known}")
    named = dict(zip(COLUMNS, row.cells, strict=True))
    width, height, count = (check_whole_number(f"{row.place}, field {name}", named[name]) for name in COLUMNS[1:4])
    boxes = check_boxes(row.place, _decode(row, "boxes", named["boxes"], count), (width, height))
    features = check_features(row.place, _decode(row, "features", named["features"], count), count)
    return RegionFeatures(row.image_id, width, height, boxes, features, ())


def _parse_vinvl(row: Row, companions: Companions) -> RegionFeatures:
    if "labels" not in companions:
        raise UserError(
            f"{row.path}: has features without boxes; put VinVL's predictions.tsv beside features.tsv, or "
            "<name>.label.tsv beside <name>.feature.tsv"
        )
    labelled = read_row(*companions["labels"], row.image_id)
    prediction = _json_cell(labelled, Prediction)
    width, height = prediction.image_w, prediction.image_h
    if width is None or height is None:
        if "sizes" not in companions:
            raise UserError(f"{labelled.place}: has no image_w and image_h; put <name>.hw.tsv beside {row.path.name}")
        sides = _json_cell(read_row(*companions["sizes"], row.image_id), ImageSides)
        width, height = sides.width, sides.height
    if len(row.cells) == 3:
        count, encoded = check_whole_number(f"{row.place}, field num_boxes", row.cells[1]), row.cells[2]
    else:
        cell = _json_cell(row, FeatureCell)
        count, encoded = cell.num_boxes, cell.features.encode()
    if len(prediction.objects) != count:
        raise UserError(
            f"{labelled.place}, field objects: has {len(prediction.objects)} regions, but {row.place} has {count}; "
            "use the two files of one run of the detector"
        )
    labels = tuple(found.label for found in prediction.objects)
    boxes = check_boxes(labelled.place, np.array([found.rect for found in prediction.objects]), (width, height))
    features = check_features(row.place, _decode(row, "features", encoded, count), count)
    return RegionFeatures(row.image_id, width, height, boxes, features, labels)


def _json_cell(row: Row, model: type[AnyRecord]) -> AnyRecord:
    """The JSON in the second of two columns."""
    if len(row.cells) != 2:
        raise UserError(f"{row.place}: has {len(row.cells)} columns instead of two; it may be cut off")
    try:
        return model.model_validate(parse_json(row.cells[1]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "2"
        raise UserError(f"{row.place}, field {field}: {first['msg']}") from None
    except NotJson as error:
        raise UserError(f"{row.place}, field 2: {error}; {CUT_OFF}") from None


def _decode(row: Row, field: str, encoded: bytes, count: int) -> Float32[np.ndarray, "regions width"]:
    """The numbers of a base64 cell, in `count` rows."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise UserError(f"{row.place}, field {field}: is not base64 ({error}); it may be cut off") from None
    if not content or len(content) % (4 * count):
        raise UserError(f"{row.place}, field {field}: its {len(content)} bytes are not float32 for {count} regions")
    return np.frombuffer(content, "<f4").reshape(count, -1)
