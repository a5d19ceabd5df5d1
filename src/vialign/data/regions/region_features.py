"""What a detector says about an image: boxes and a feature vector for each, checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from vialign.data.base import BOX_TOLERANCE
from vialign.errors import UserError


@dataclass(frozen=True)
class RegionFeatures:
    """The regions of one image."""

    image_id: str
    width: int
    """Pixels of the image."""
    height: int
    boxes: Float32[np.ndarray, "regions 4"]
    """Left, top, right, bottom in pixels."""
    features: Float32[np.ndarray, "regions width"]
    labels: tuple[str, ...]
    """Name of each region; empty when the file has none."""


def check_boxes(place: str, boxes: np.ndarray, size: tuple[int, int]) -> Float32[np.ndarray, "regions 4"]:
    """The boxes as float32. Raises UserError when one is no number, is empty, or leaves the (width, height) image.

    `place` is the file and row, for the error; so it is in the other checks.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) or boxes.dtype.kind not in "fiu":
        raise UserError(f"{place}, field boxes: has shape {boxes.shape} instead of four numbers a region")
    left, top, right, bottom = boxes.astype(np.float64).T
    inside = (left >= -BOX_TOLERANCE) & (top >= -BOX_TOLERANCE)
    inside &= (right <= size[0] + BOX_TOLERANCE) & (bottom <= size[1] + BOX_TOLERANCE)
    _check_all(np.isfinite(boxes).all(axis=1), place, "boxes", "is not a number")
    _check_all((right > left) & (bottom > top), place, "boxes", "is empty")
    _check_all(inside, place, "boxes", f"leaves the {size[0]}x{size[1]} image")
    return boxes.astype(np.float32)


def check_features(place: str, features: np.ndarray, regions: int) -> Float32[np.ndarray, "regions width"]:
    """The features as float32. Raises UserError when there is not one row of finite numbers a region."""
    if features.ndim != 2 or features.shape[0] != regions or not features.size or features.dtype.kind not in "fiu":
        raise UserError(f"{place}, field features: has shape {features.shape} instead of {regions} rows of numbers")
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    _check_all(np.isfinite(features).all(axis=1), place, "features", "holds something that is not a number")
    return features


def check_whole_number(place: str, value: Any) -> int:
    """A whole number from 1, from text or an array of one. Raises UserError when it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not number.is_integer() or number < 1:
        raise UserError(f"{place}: is not a whole number from 1")
    return int(number)


def _check_all(good: np.ndarray, place: str, field: str, wrong: str) -> None:
    if not good.all():
        raise UserError(f"{place}, field {field}: region {int(np.flatnonzero(~good)[0])} {wrong}")
