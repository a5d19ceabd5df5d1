"""Moved images: their pixels, their patches, and where each patch has gone; what spatial stability is about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from vialign.device import to_device
from vialign.progress import track_blocks

if TYPE_CHECKING:
    from vialign.backbone import Backbone

Grid = tuple[int, int]
"""Rows and columns of patches."""
Pixels = UInt8[Tensor, "image channel height width"]

SHIFT = (1, 1)
"""Rows down and columns right by which the content of shifted images moves, in patches."""
CROP = 1 / 7
"""Share of each side that a crop takes off at either end, rounded down to whole patches, at least one."""


@dataclass(frozen=True)
class Move:
    """A change of the image that a map must follow."""

    pixels: Callable[[Pixels, Grid], Pixels]
    """The moved image, of the same size."""
    correspondence: Callable[[Grid], Int[Tensor, "patch"]]
    """For every patch of the image its place in the moved image, -1 where it has left the view."""


def flip_content(pixels: Pixels, grid: Grid) -> Pixels:
    """Mirror left and right."""
    return pixels.flip(-1)


def flip_correspondence(grid: Grid) -> Int[Tensor, "patch"]:
    """Where every patch of a row-major grid lies after a horizontal flip of the image."""
    return torch.arange(grid[0] * grid[1]).reshape(grid).flip(1).reshape(-1)


def shift_content(pixels: Pixels, grid: Grid) -> Pixels:
    """Move the content by `SHIFT` patches down and right; the edge that becomes free repeats the border."""
    height, width = pixels.shape[-2:]
    down, right = SHIFT[0] * height // grid[0], SHIFT[1] * width // grid[1]
    padded = functional.pad(pixels.float(), (right, 0, down, 0), mode="replicate")
    return padded[..., :height, :width].to(torch.uint8)


def shift_correspondence(grid: Grid) -> Int[Tensor, "patch"]:
    """Where every patch lies after the content moves by `SHIFT`; -1 when gone."""
    row = torch.arange(grid[0])[:, None] + SHIFT[0]
    column = torch.arange(grid[1])[None, :] + SHIFT[1]
    seen = (row < grid[0]) & (column < grid[1])
    return torch.where(seen, row * grid[1] + column, -1).reshape(-1)


def crop_content(pixels: Pixels, grid: Grid) -> Pixels:
    """Zoom into the centre: cut `CROP` off every side and scale what is left to the old size."""
    height, width = pixels.shape[-2:]
    top, left = (_margin(cells) * side // cells for cells, side in zip(grid, (height, width), strict=True))
    centre = pixels[..., top : height - top, left : width - left].float()
    scaled = functional.interpolate(centre, (height, width), mode="bilinear", align_corners=False)
    return scaled.round().to(torch.uint8)


def crop_correspondence(grid: Grid) -> Int[Tensor, "patch"]:
    """For every patch the patch of the zoomed image in which its centre lies; -1 where it was cut off."""
    row, column = (_zoomed(cells) for cells in grid)
    seen = (row >= 0)[:, None] & (column >= 0)[None, :]
    return torch.where(seen, row[:, None] * grid[1] + column[None, :], -1).reshape(-1)


MOVES = {
    "flip": Move(flip_content, flip_correspondence),
    "shift": Move(shift_content, shift_correspondence),
    "crop": Move(crop_content, crop_correspondence),
}
"""Every move that stability is measured under."""
FITTED_MOVES = ("flip", "shift")
"""Those that the dictionary is fitted on; a crop is left to show whether stability carries over."""


@torch.no_grad()
def patches_of(backbone: "Backbone", pixels: Pixels, readout: str, batch: int = 32) -> Float[Tensor, "image patch dim"]:
    """Patch tokens of pixels in memory, in half precision as the feature store keeps them; on the CPU."""
    blocks = track_blocks(pixels.split(batch), "patches of moved images", len(pixels))
    shown = (backbone.normalise(to_device(block, backbone.device)) for block in blocks)
    return torch.cat([backbone.image_tokens(block, readout)[1].half().cpu() for block in shown])


@torch.no_grad()
def attention_of(backbone: "Backbone", pixels: Pixels, batch: int = 32) -> Float[Tensor, "image head patch"] | None:
    """The pooled token's attention to the patches; None, with a line that says so, where the tower has none."""
    shown = (backbone.normalise(to_device(block, backbone.device)) for block in pixels.split(batch))
    blocks = [backbone.attention_maps(block) for block in shown]
    found = [block.cpu() for block in blocks if block is not None]
    if len(found) < len(blocks):
        print("the image tower has no pooled token whose attention could be read: that reference is left out")
        return None
    return torch.cat(found)


def _margin(cells: int) -> int:
    return min(max(1, int(cells * CROP)), (cells - 1) // 2)


def _zoomed(cells: int) -> Int[Tensor, "cell"]:
    """Along one side: the cell of the zoomed image that holds each cell's centre, -1 outside."""
    margin = _margin(cells)
    place = (torch.arange(cells) - margin + 0.5) * cells / (cells - 2 * margin)
    return torch.where((place >= 0) & (place < cells), place.floor().long(), -1)
