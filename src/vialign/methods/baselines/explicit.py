"""What the explicit baselines share: how regions and words come in, and where a region lies, in numbers."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.features.regions import Regions
from vialign.methods.objective import SplitData


def regions_of(data: SplitData, index: Int[Tensor, "image"], method: str) -> Regions:
    """The regions of the images at these positions. Raises ValueError when the split was loaded without."""
    if data.regions is None:
        raise ValueError(f"{method} needs regions: load the split with them")
    return data.regions.index(index)


def words_of(
    data: SplitData, index: Int[Tensor, "text"], method: str
) -> tuple[Float[Tensor, "text word state"], Bool[Tensor, "text word"]]:
    """Stored states of the words of the texts at these positions, and which are no padding.

    Raises ValueError when the split was loaded without.
    """
    if data.states is None or data.mask is None:
        raise ValueError(f"{method} needs token states: load the split with them")
    return data.states[index].to(data.text_pooled.dtype), data.mask[index]


def standardised(features: Float[Tensor, "*item width"]) -> Float[Tensor, "*item width"]:
    """Each vector with mean 0 and variance 1 of its numbers: detectors and backbones have scales of their own."""
    return F.layer_norm(features, features.shape[-1:])


def box_moments(boxes: Float[Tensor, "*region 4"]) -> Float[Tensor, "*region 5"]:
    """Mean and standard deviation of x and of y over a box, and its area, in [0, 1]: what `relative_geometry` reads."""
    corner, sides = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    return torch.cat([corner + sides / 2, sides / 12**0.5, sides.prod(dim=-1, keepdim=True)], dim=-1)


def box_numbers(boxes: Float[Tensor, "*region 4"]) -> Float[Tensor, "*region 6"]:
    """Left, top, right, bottom, width and height in [0, 1], as Oscar and VinVL append them to a region's feature."""
    return torch.cat([boxes, boxes[..., 2:] - boxes[..., :2]], dim=-1)
