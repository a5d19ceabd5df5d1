"""Patches of moved images: what spatial stability is fitted and measured on."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from vialign.disentangle.visual_fitting import SHIFT
from vialign.progress import track

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def shift_content(
    pixels: UInt8[Tensor, "image channel height width"], grid: tuple[int, int]
) -> UInt8[Tensor, "image channel height width"]:
    """Move the content by `SHIFT` patches down and right; the edge that becomes free repeats the border."""
    height, width = pixels.shape[-2:]
    down, right = SHIFT[0] * height // grid[0], SHIFT[1] * width // grid[1]
    padded = functional.pad(pixels.float(), (right, 0, down, 0), mode="replicate")
    return padded[..., :height, :width].to(torch.uint8)


@torch.no_grad()
def patches_of(
    backbone: "Backbone", pixels: UInt8[Tensor, "image channel height width"], readout: str, batch: int = 32
) -> Float[Tensor, "image patch dim"]:
    """Patch tokens of pixels in memory, in half precision as the feature store keeps them."""
    blocks = track(pixels.split(batch), "patches of moved images", total=-(-len(pixels) // batch))
    return torch.cat([backbone.image_tokens(backbone.normalise(block), readout)[1].half() for block in blocks])
