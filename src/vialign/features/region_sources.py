"""The two sources of regions: labelled boxes with pooled patch tokens, and the file of a detector."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.config.data import DataConfig
from vialign.data.regions.reading import RegionFolder, RegionIndex, index_regions
from vialign.data.regions.region_features import RegionFeatures
from vialign.errors import UserError
from vialign.features.boxes import box_coverage, embed_labels, object_labels
from vialign.features.pixels import boxes_in_crop
from vialign.features.store import ImageFeatures
from vialign.progress import track, track_starts

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_ROWS = 256
"""Images whose patches are in memory at a time."""
_READERS = "methods that read regions"


@dataclass(frozen=True)
class ImageRegions:
    """The regions of one image, as `vialign.features.regions.Regions` without padding."""

    features: Float[np.ndarray, "region width"]
    boxes: Float[np.ndarray, "region 4"]
    tags: Float[np.ndarray, "region dim"]


def boxed_regions(
    images: pd.DataFrame, objects: pd.DataFrame, features: ImageFeatures, backbone: "Backbone", limit: int
) -> tuple[int, Iterator[ImageRegions]]:
    """The most regions of an image, and the regions of each image, largest first, from its labelled boxes.

    A feature is the mean patch token inside the box, each weighted by the share of its patch that the box covers. Rows
    of `images` (IMAGES) are those of `features`; boxes of other images, and what the tower's crop leaves nothing of,
    are left out. Raises UserError when no image has a box.
    """
    kept = _seen_boxes(images, objects, backbone.resize_mode, limit)
    if kept.empty:
        raise UserError(
            f"data.regions: is not set, and split {images['split'].iloc[0]!r} has no labelled boxes; set it to region "
            f"features of the images, or leave {_READERS} out of training.methods and training.compare"
        )
    tags = {name: vector.numpy() for name, vector in embed_labels(kept["label"], backbone).items()}
    return int(kept.groupby("row").size().max()), _pooled(kept, features, tags, backbone.dimension)


def _seen_boxes(images: pd.DataFrame, objects: pd.DataFrame, resize_mode: str, limit: int) -> pd.DataFrame:
    """One row a box that is seen, largest first: `row` of its image, `label`, and its corners in [0, 1]."""
    row = objects["image_id"].map(pd.Series(np.arange(len(images)), index=images["image_id"].to_numpy()))
    objects, row = objects[row.notna()], row[row.notna()].astype(int)
    own = images.iloc[row.to_numpy()]
    shift = np.array([(crop[0], crop[1]) if len(crop) else (0.0, 0.0) for crop in own["crop"]]).reshape(-1, 2)
    pixels = objects[["x", "y", "width", "height"]].to_numpy(np.float64) - np.pad(shift, ((0, 0), (0, 2)))
    width, height = (own[side].to_numpy(np.float64) for side in ("width", "height"))
    corners = boxes_in_crop(pixels, width, height, resize_mode)
    frame = pd.DataFrame(corners, columns=["left", "top", "right", "bottom"])
    frame["row"], frame["label"] = row.to_numpy(), object_labels(objects).to_numpy()
    frame["area"] = (frame["right"] - frame["left"]) * (frame["bottom"] - frame["top"])
    frame = frame[frame["area"] > 0].sort_values("area", ascending=False, kind="stable")
    return frame.groupby("row", sort=False).head(limit)


def _pooled(
    boxes: pd.DataFrame, features: ImageFeatures, tags: dict[str, np.ndarray], dimension: int
) -> Iterator[ImageRegions]:
    """The regions of every image, in order; an image without a box has none."""
    groups = {row: group for row, group in boxes.groupby("row", sort=False)}
    nothing = boxes.iloc[:0]
    for start in track_starts(len(features), _ROWS, "regions from labelled boxes"):
        patches = features.patches(start, min(start + _ROWS, len(features))).numpy()
        for offset, tokens in enumerate(patches):
            own = groups.get(start + offset, nothing)
            corners = own[["left", "top", "right", "bottom"]].to_numpy(np.float64)
            share = box_coverage(corners, features.grid)
            yield ImageRegions(
                features=(share / share.sum(axis=1, keepdims=True)) @ tokens,
                boxes=corners,
                tags=np.array([tags[name] for name in own["label"]]).reshape(-1, dimension),
            )


def detected_regions(images: pd.DataFrame, config: DataConfig, backbone: "Backbone") -> Iterator[ImageRegions]:
    """The regions of every image (rows of IMAGES), in order, read from the file of its source one by one.

    Boxes are in [0, 1] of the picture, or of its part where only that is seen; what lies outside of the part is left
    out. At most `region_limit` are kept, in the file's order. Raises UserError when an image's source names no file,
    the file has none of the image, or its features do not have `region_width` numbers or fit half precision.
    """
    files = {source: _open(config, source) for source in images["source"].unique()}
    tags: dict[str, np.ndarray] = {}
    columns = (images[name] for name in ("image_id", "path", "source", "crop"))
    for image_id, path, source, crop in track(zip(*columns, strict=True), "read regions", total=len(images)):
        file = files[source]
        found = file.read(_name_in(file, image_id, path))
        if found.features.shape[1] != config.region_width:
            raise UserError(
                f"{file.path}: image {found.image_id}: its features have {found.features.shape[1]} numbers; set "
                "data.region_width to that"
            )
        boxes = _relative(found, crop)
        kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))[: config.region_limit]
        features = found.features[kept]
        if np.abs(features).max(initial=0) > np.finfo(np.float16).max:
            raise UserError(f"{file.path}: image {found.image_id}: has a feature beyond 65504; scale the features down")
        labels = [found.labels[place] for place in kept] if found.labels else []
        tags |= {name: v.numpy() for name, v in embed_labels(set(labels) - tags.keys(), backbone).items()}
        vectors = np.array([tags[name] for name in labels]) if labels else np.zeros((len(kept), backbone.dimension))
        yield ImageRegions(features, boxes[kept], vectors)


def _open(config: DataConfig, source: str) -> RegionIndex | RegionFolder:
    path = config.regions if source == "data" else config.benchmarks[source].regions
    if path is None:
        raise UserError(
            f"data.benchmarks.{source}.regions: is not set, but data.regions is; set it to region features of the "
            f"benchmark's images, or leave {_READERS} out of training.methods and training.compare"
        )
    return index_regions(path)


def _name_in(file: RegionIndex | RegionFolder, image_id: str, path: str) -> str:
    """What a file of regions calls an image: by its id, its picture's name, or the number that ends it.

    `COCO_val2014_000000000042` is `42` in the files for COCO.
    """
    stem = PurePosixPath(path).stem
    digits = stem.rpartition("_")[2]
    names = [image_id, stem, *([str(int(digits))] if digits.isdecimal() else [])]
    for name in names:
        if name in file.names:
            return name
    raise UserError(
        f"{file.path}: has no regions of image {image_id} (looked for {', '.join(dict.fromkeys(names))}); data.regions "
        f"must have all images of the run, or {_READERS} be left out of training.methods and training.compare"
    )


def _relative(found: RegionFeatures, crop: list[float]) -> Float[np.ndarray, "region 4"]:
    """Corners in [0, 1] of the picture, or of the part of it that `crop` names in pixels."""
    x, y, width, height = crop if len(crop) else (0, 0, found.width, found.height)
    return ((found.boxes - np.array([x, y, x, y])) / np.array([width, height, width, height])).clip(0, 1)
