"""Labelled boxes as targets on the patch grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.data.base import object_label, object_phrase
from vialign.features.pixels import boxes_in_crop

if TYPE_CHECKING:
    from vialign.backbone import Backbone


@dataclass(frozen=True)
class BoxTargets:
    """What the boxes of some images cover, padded to the image with the most targets."""

    coverage: Float[Tensor, "image target patch"]
    """Share of each patch that the target covers, in [0, 1]; zero in padding."""
    label: Int[Tensor, "image target"]
    """Index into `labels`; -1 in padding."""
    labels: list[str]
    """Distinct labels, sorted."""


def object_labels(objects: pd.DataFrame) -> pd.Series:
    """The words that name each object's class: its first attribute, where it has one, and its name ("red circle").

    Further attributes are left out: each would split the classes again, and few patches show them. `objects` has the
    columns of `vialign.tables.OBJECTS`; the result has its index.
    """
    pairs = zip(objects["attributes"], objects["name"], strict=True)
    return pd.Series([object_label(name, attributes) for attributes, name in pairs], index=objects.index, dtype=object)


@torch.no_grad()
def embed_labels(objects: pd.DataFrame, backbone: "Backbone", batch: int = 256) -> dict[str, Tensor]:
    """The unit text embedding of every label of `object_labels`, said with its article ("a red circle")."""
    labels = sorted(set(object_labels(objects)))
    embedded: dict[str, Tensor] = {}
    for start in range(0, len(labels), batch):
        block = labels[start : start + batch]
        vectors = backbone.encode_text(backbone.tokenize([object_phrase(label, []) for label in block]).ids)
        embedded |= dict(zip(block, vectors, strict=True))
    return embedded


def box_coverage(corners: Float[np.ndarray, "box 4"], grid: tuple[int, int]) -> Float[np.ndarray, "box patch"]:
    """Share of every patch that a box covers; boxes are x0, y0, x1, y1 in [0, 1] of what the image tower sees.

    `grid` is rows, columns; patches are row-major.
    """
    rows, columns = grid
    across = _overlap(corners[:, 0], corners[:, 2], columns)
    down = _overlap(corners[:, 1], corners[:, 3], rows)
    return (down[:, :, None] * across[:, None, :]).reshape(len(corners), rows * columns)


def _overlap(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
    """Share of each of `cells` equal parts of [0, 1] that lies between low and high."""
    edges = np.linspace(0, 1, cells + 1)
    length = np.minimum(high[:, None], edges[None, 1:]) - np.maximum(low[:, None], edges[None, :-1])
    return np.clip(length, 0, None) * cells


def box_targets(
    objects: pd.DataFrame,
    images: pd.DataFrame,
    grid: tuple[int, int],
    labels: pd.Series | None = None,
    merge: bool = True,
    resize_mode: str = "shortest",
) -> BoxTargets:
    """Targets of the rows of `images` (columns of `vialign.tables.IMAGES`), from the objects that name them.

    With `merge`, all boxes of an image that share a label are one target, since a dictionary atom stands for a class
    and cannot tell two of its instances apart; without it every object is a target of its own. `labels` defaults to
    `object_labels`. Objects of other images, and objects that the crop leaves nothing of, are left out. `resize_mode`
    is the backbone's (`vialign.features.pixels.boxes_in_crop`).
    """
    labels = object_labels(objects) if labels is None else labels
    positions = pd.Series(np.arange(len(images)), index=images["image_id"].to_numpy())
    row = objects["image_id"].map(positions)
    inside = row.notna()
    objects, labels = objects[inside], labels[inside]
    rows = row[inside].to_numpy(dtype=np.int64, copy=True)
    sizes = images[["width", "height"]].to_numpy(dtype=np.float64)[rows]
    pixels = objects[["x", "y", "width", "height"]].to_numpy(dtype=np.float64)
    coverage = box_coverage(boxes_in_crop(pixels, sizes[:, 0], sizes[:, 1], resize_mode), grid)
    seen = coverage.sum(axis=1) > 0
    names = sorted(set(labels[seen]))
    codes = pd.Categorical(labels[seen], categories=names).codes.astype(np.int64)
    return _pad(rows[seen], codes, coverage[seen], len(images), names, merge)


def _pad(
    rows: np.ndarray, codes: np.ndarray, coverage: np.ndarray, images: int, names: Sequence[str], merge: bool
) -> BoxTargets:
    if merge and len(rows):
        pairs, member = np.unique(np.stack([rows, codes], axis=1), axis=0, return_inverse=True)
        merged = np.zeros((len(pairs), coverage.shape[1]))
        np.add.at(merged, member.reshape(-1), coverage)
        rows, codes, coverage = pairs[:, 0], pairs[:, 1], np.minimum(merged, 1)
    slot = pd.Series(rows).groupby(rows).cumcount().to_numpy(copy=True)
    width = int(slot.max()) + 1 if len(slot) else 0
    padded = torch.zeros(images, width, coverage.shape[1])
    label = torch.full((images, width), -1, dtype=torch.long)
    index = torch.from_numpy(rows), torch.from_numpy(slot)
    padded[index] = torch.from_numpy(coverage).float()
    label[index] = torch.from_numpy(codes)
    return BoxTargets(padded, label, list(names))
