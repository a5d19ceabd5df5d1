"""Labelled boxes as targets on the patch grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.device import to_device
from vialign.features.boxes import box_coverage, object_labels
from vialign.features.pixels import boxes_in_crop
from vialign.random import generator

DRAWN, DRAWN_LABELS = 3, 80
"""Labels of an image, and labels that there are: in COCO 2.9 and 80."""


@dataclass(frozen=True)
class BoxTargets:
    """What the boxes of some images cover, padded to the image with the most targets."""

    coverage: Float[Tensor, "image target patch"]
    """Share of each patch that the target covers, in [0, 1]; zero in padding."""
    label: Int[Tensor, "image target"]
    """Index into `labels`; -1 in padding."""
    labels: list[str]
    """Distinct labels, sorted."""

    def index(self, positions: Tensor) -> "BoxTargets":
        """The targets of the images at these positions."""
        return replace(self, coverage=self.coverage[positions], label=self.label[positions])

    def to(self, device: torch.device) -> "BoxTargets":
        """The same on a device."""
        return replace(self, coverage=to_device(self.coverage, device), label=to_device(self.label, device))


def told_boxes(objects: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """The rows of OBJECTS of `count` images that have any, drawn by the seed; all rows for None.

    A smaller count of the same seed draws some of the images of a larger one.
    """
    if count is None:
        return objects
    drawn = generator(seed, "labelled images").permutation(np.sort(objects["image_id"].unique()))[:count]
    return objects[objects["image_id"].isin(drawn)]


def box_targets(
    objects: pd.DataFrame,
    images: pd.DataFrame,
    grid: tuple[int, int],
    labels: pd.Series | None = None,
    merge: bool = True,
    resize_mode: str = "shortest",
) -> BoxTargets:
    """Targets of the rows of `images` (columns of `vialign.tables.data.IMAGES`), from the objects that name them.

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


def drawn_targets(images: int, patches: int, seed: int) -> BoxTargets:
    """Random targets, as many and of as many labels as COCO has, for the ledger: times depend on no content."""
    stream = torch.Generator().manual_seed(seed)
    coverage = torch.rand(images, DRAWN, patches, generator=stream)
    label = torch.randint(DRAWN_LABELS, (images, DRAWN), generator=stream)
    return BoxTargets(coverage, label, [f"label {place}" for place in range(DRAWN_LABELS)])


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
