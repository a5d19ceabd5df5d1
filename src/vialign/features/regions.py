"""Explicit regions of images: what a detector or a person marked, as the methods with regions read it.

One file a split holds them, made by `make_regions` from one of two sources (`vialign.features.region_sources`) and
written image by image: region features of a large data set take tens of gigabytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.config.data import DataConfig
from vialign.device import to_device
from vialign.errors import UserError
from vialign.features.region_sources import boxed_regions, detected_regions
from vialign.features.store import ImageFeatures, contract_provenance
from vialign.files.artifacts import read_provenance, read_tensors, tensors_in_parts

if TYPE_CHECKING:
    from vialign.backbone import Backbone


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of the images of a split, padded to the same number; features and tags in half precision."""

    features: Float[Tensor, "image region width"]
    """As the detector gives them, or the mean patch token of a labelled box; zeros in padding."""
    boxes: Float[Tensor, "image region 4"]
    """Left, top, right, bottom in [0, 1]: of what the image tower sees for labelled boxes, of the whole picture for a
    detector's; zeros in padding."""
    tags: Float[Tensor, "image region dim"]
    """The frozen backbone's text embedding of the region's label, unit length; zeros where it has none."""
    present: Bool[Tensor, "image region"]
    """What is no padding; an image may have no region at all."""
    where: torch.device | None = None
    """Where `index` brings them; None: where they are."""

    def bound_for(self, device: torch.device) -> "Regions":
        """The same regions, of which those that are asked for come to `device`."""
        return replace(self, where=device)

    def index(self, positions: Tensor) -> "Regions":
        """The regions of the images at these positions."""

        def taken(part: Tensor) -> Tensor:
            return part[positions] if self.where is None else to_device(part[positions], self.where)

        return Regions(taken(self.features), taken(self.boxes), taken(self.tags), taken(self.present))


def feature_width(config: DataConfig, dimension: int) -> int:
    """Numbers of a region's feature: the detector's, or the dimension of the patch tokens."""
    return dimension if config.regions is None else config.region_width


def make_regions(
    config: DataConfig,
    images: pd.DataFrame,
    objects: pd.DataFrame,
    features: ImageFeatures,
    backbone: "Backbone",
    output: str | Path,
    provenance: Mapping[str, str],
) -> None:
    """Write the regions of the images of one split, in the order of their `features`, as safetensors.

    `images` are IMAGES, `objects` OBJECTS; rows of other splits are left out. Memory: one block of images. Raises
    UserError when the split has neither labelled boxes nor a file, or the file lacks an image or has features of
    another width.
    """
    ordered = images.set_index("image_id").loc[features.ids].reset_index()
    if config.regions is None:
        count, found = boxed_regions(ordered, objects, features, backbone, config.region_limit)
    else:
        count, found = config.region_limit, detected_regions(ordered, config, backbone)
    shape = (len(ordered), count)
    layout: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "boxes": (np.float32, (*shape, 4)),
        "features": (np.float16, (*shape, feature_width(config, backbone.dimension))),
        "tags": (np.float16, (*shape, backbone.dimension)),
        "present": (np.bool_, shape),
    }
    facts = {**provenance, **contract_provenance(backbone.contract), "images": _names_digest(features.ids)}
    with tensors_in_parts(layout, output, facts) as arrays:
        for row, own in enumerate(found):
            place = row, slice(len(own.boxes))
            for name in ("boxes", "features", "tags"):
                arrays[name][place] = getattr(own, name)
            arrays["present"][place] = True


def read_regions(path: str | Path, image_ids: Sequence[str]) -> Regions:
    """The regions of these images, mapped from the file. Raises UserError when it was made of others."""
    if read_provenance(path).get("images") != _names_digest(image_ids):
        raise UserError(f"{path}: holds the regions of other images than the features; delete it and run again")
    tensors = read_tensors(path)
    return Regions(tensors["features"], tensors["boxes"], tensors["tags"], tensors["present"])


def drawn_regions(images: int, config: DataConfig, dimension: int, seed: int) -> Regions:
    """Random regions, `data.region_limit` an image, for the ledger: sizes and times depend on no content."""
    stream = torch.Generator().manual_seed(seed)
    shape = (images, config.region_limit)
    corners = torch.rand(*shape, 2, 2, generator=stream).sort(dim=2).values
    return Regions(
        torch.randn(*shape, feature_width(config, dimension), generator=stream).half(),
        corners.flatten(2),
        torch.nn.functional.normalize(torch.randn(*shape, dimension, generator=stream), dim=-1).half(),
        torch.ones(shape, dtype=torch.bool),
    )


def _names_digest(image_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(image_ids).encode()).hexdigest()
