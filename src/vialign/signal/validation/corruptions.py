"""Common image corruptions at five severities (after Hendrycks and Dietterich 2019, arXiv:1903.12261).

Their scales are for photographs of 224 pixels; lengths are scaled with the side of the image. An image's draw depends
on the seed, the corruption and its place in the batch, and not on the severity, so that severities differ by strength
alone.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vialign.random import generator

_SIDE = 224
Corruption = Callable[[Float[Tensor, "channel height width"], int, np.random.Generator], Tensor]


def corrupt(
    pixels: UInt8[Tensor, "image channel height width"], name: str, severity: int, seed: int
) -> UInt8[Tensor, "image channel height width"]:
    """Corrupt a batch of RGB images; `severity` is 1 (mild) to 5, `name` one of `CORRUPTIONS`."""
    function = CORRUPTIONS[name]
    results = [
        function(image.float() / 255, severity - 1, generator(seed, "corruption", name, place))
        for place, image in enumerate(pixels)
    ]
    return (torch.stack(results).clamp(0, 1) * 255).round().to(torch.uint8)


def _gaussian_noise(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    spread = (0.08, 0.12, 0.18, 0.26, 0.38)[level]
    return image + spread * torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(image.device)


def _blur(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    """Gaussian, separable, edges repeated."""
    sigma = (1.0, 2.0, 3.0, 4.0, 6.0)[level] * min(image.shape[1:]) / _SIDE
    radius = max(1, int(4 * sigma + 0.5))
    weights = torch.exp(-(torch.arange(-radius, radius + 1, device=image.device) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(image.dtype)
    padded = F.pad(image[:, None], (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, weights[None, None, :, None])
    return F.conv2d(rows, weights[None, None, None, :])[:, 0]


def _brightness(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    """Raises the V of HSV; hue and saturation stay."""
    value = image.amax(dim=0, keepdim=True)
    raised = (value + (0.1, 0.2, 0.3, 0.4, 0.5)[level]).clamp(max=1)
    return torch.where(value > 0, image * raised / value.clamp(min=1e-6), raised.expand_as(image))


def _contrast(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    mean = image.mean(dim=(1, 2), keepdim=True)
    return mean + (0.4, 0.3, 0.2, 0.1, 0.05)[level] * (image - mean)


def _occlusion(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    """A grey rectangle of the image's shape, anywhere inside it; the levels are its share of the area."""
    _, height, width = image.shape
    side = (0.05, 0.1, 0.2, 0.3, 0.4)[level] ** 0.5
    rows, columns = round(side * height), round(side * width)
    place = rng.random(2)
    top, left = int(place[0] * (height - rows + 1)), int(place[1] * (width - columns + 1))
    covered = image.clone()
    covered[:, top : top + rows, left : left + columns] = 0.5
    return covered


def _pixelate(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    """Area means at a fraction of the size, then nearest neighbours back.

    The coarse grid is scaled with the side, as everything here: the same number of blocks covers a small image.
    """
    height, width = image.shape[1:]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[level]
    size = (max(1, round(share * height)), max(1, round(share * width)))
    small = F.interpolate(image[None], size=size, mode="area")
    return F.interpolate(small, size=(height, width), mode="nearest-exact")[0]


def _jpeg(image: Tensor, level: int, rng: np.random.Generator) -> Tensor:
    from PIL import Image

    array = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="JPEG", quality=(25, 18, 15, 10, 7)[level])
    decoded = np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(decoded.copy()).to(image.device).permute(2, 0, 1) / 255


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian noise": _gaussian_noise,
    "blur": _blur,
    "brightness": _brightness,
    "contrast": _contrast,
    "occlusion": _occlusion,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
"""Corruptions by name, as they stand in `STRESS`."""
