"""Encoded crops as local units: every part of an image read by the tower as an image of its own.

The tower was taught to embed whole images, and its patch tokens were never asked to say what is where (Miranda et al.
2025, arXiv:2506.09691, match phrases to crops for that reason). A patch of the readout `crops` is the mean embedding of
the crops that cover its centre. It costs one more pass of the tower for every crop; stored features pay it once.
"""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SIDE = 3
"""Crops in each direction: half the image's side, evenly spread, so that neighbours share half of what they show."""

Window = tuple[int, int, int, int]
"""Rows from and to, columns from and to."""


def crop_windows(height: int, width: int, side: int) -> list[Window]:
    """`side` x `side` windows of half the height and width, evenly spread, row by row; one in the middle for 1."""
    tall, wide = height // 2, width // 2
    places = [step / (side - 1) for step in range(side)] if side > 1 else [0.5]
    corners = product((round(place * (height - tall)) for place in places), [round(p * (width - wide)) for p in places])
    return [(top, top + tall, left, left + wide) for top, left in corners]


def covering(windows: list[Window], size: tuple[int, int], grid: tuple[int, int]) -> Float[Tensor, "patch crop"]:
    """How much each crop counts for each patch of an image of this size: alike for those that cover its centre, 1 in
    all, and 0 for the others.
    """
    (height, width), (rows, columns) = size, grid
    y = ((torch.arange(rows) + 0.5) / rows * height).repeat_interleave(columns)[:, None]
    x = ((torch.arange(columns) + 0.5) / columns * width).repeat(rows)[:, None]
    top, bottom, left, right = torch.tensor(windows, dtype=y.dtype).T
    inside = ((top <= y) & (y < bottom) & (left <= x) & (x < right)).float()
    return inside / inside.sum(dim=1, keepdim=True)


def crop_patches(
    encode: Callable[[Float[Tensor, "batch 3 height width"]], Float[Tensor, "batch dim"]],
    pixels: Float[Tensor, "batch 3 height width"],
    grid: tuple[int, int],
) -> Float[Tensor, "batch patch dim"]:
    """The patches of the readout, from normalised pixels; `encode` gives unit embeddings. A gradient passes."""
    size = (pixels.shape[-2], pixels.shape[-1])
    windows = crop_windows(*size, SIDE)
    embedded = [
        encode(F.interpolate(pixels[..., a:b, c:d], size=size, mode="bicubic", align_corners=False))
        for a, b, c, d in windows
    ]
    shares = covering(windows, size, grid).to(embedded[0])
    return torch.einsum("pc,cbd->bpd", shares, torch.stack(embedded))
