"""From image files to pixels as the image tower sees them, and from boxes on the file to boxes on those pixels."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from PIL import Image
from torch import Tensor

from vialign.data.base import safe_join
from vialign.errors import UserError
from vialign.files.images import WORKERS, Decoded, open_image

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def load_pixels(
    images: pd.DataFrame, folders: Mapping[str, Path], backbone: "Backbone"
) -> UInt8[Tensor, "image 3 height width"]:
    """Pixels of the images (rows of `IMAGES`) after the backbone's resize and crop, before normalisation.

    `folders` holds, by source, what the column `path` is relative to. Raises UserError when a path leaves it, or a
    file is missing or cannot be decoded.
    """
    return PixelFiles(images, folders, backbone)[torch.arange(len(images))]


class PixelFiles:
    """Pixels of images (rows of `IMAGES`), decoded when their positions are asked for: `pixels[index]`, uint8.

    Several files are decoded at a time. Those that are expected next are decoded while the tower is at work.
    """

    def __init__(self, images: pd.DataFrame, folders: Mapping[str, Path], backbone: "Backbone") -> None:
        """`folders` holds, by source, what the column `path` is relative to."""
        self._rows = list(zip(*(images[name] for name in ("image_id", "path", "source", "crop")), strict=True))
        self._folders, self._backbone = folders, backbone
        self._pool = ThreadPoolExecutor(WORKERS)
        self._waiting: dict[int, Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def expect(self, index: Int[Tensor, "image"]) -> None:
        """Begin to decode the images at these positions, and forget what was expected before and not asked for."""
        kept, self._waiting = self._waiting, {}
        for position in index.tolist():
            begun = kept.pop(position) if position in kept else self._pool.submit(self._decode, position)
            self._waiting[position] = begun
        for future in kept.values():
            future.cancel()

    def __getitem__(self, index: Int[Tensor, "image"]) -> UInt8[Tensor, "image 3 height width"]:
        """Pixels after the backbone's resize and crop, before normalisation.

        Raises UserError when a path leaves its folder, or a file is missing or cannot be decoded.
        """
        size = self._backbone.image_size
        pixels = torch.empty(len(index), 3, size, size, dtype=torch.uint8)
        # No more files wait decoded than are asked for at a time.
        for place, found in enumerate(self._pool.map(self._take, index.tolist())):
            pixels[place] = found
        return pixels

    def _take(self, position: int) -> Tensor:
        begun = self._waiting.pop(position, None)
        return self._decode(position) if begun is None or begun.cancel() else begun.result()

    def _decode(self, position: int) -> Tensor:
        image_id, path, source, crop = self._rows[position]
        picture = read_image(self._folders[source], path, image_id).picture
        return self._backbone.preprocess(cropped(picture, crop))


def cropped(image: Image.Image, crop: Sequence[float] | Float[np.ndarray, "side"]) -> Image.Image:
    """The part of an image that is seen: x, y, width and height in pixels, or all of it where empty."""
    if not len(crop):
        return image
    x, y, width, height = crop
    return image.crop((round(x), round(y), round(x + width), round(y + height)))


def read_image(folder: str | Path, path: str, image_id: str, own: bool = False) -> Decoded:
    """One decoded image, whose path must stay inside the folder, and what was changed of it.

    An image of the user's `own` is turned upright as its orientation tag says; of annotated data the stored pixels
    count, since boxes refer to them. Raises UserError naming image and file when the path leaves the folder, or the
    file is missing or not an image.
    """
    try:
        file = safe_join(folder, path)
    except UserError as error:
        raise UserError(f"images, image_id {image_id}: {error}") from None
    try:
        return open_image(file, own)
    except UserError as error:
        raise UserError(f"images, image_id {image_id}: {error}; replace or drop it") from None


def boxes_in_crop(
    boxes: Shaped[np.ndarray, "box 4"],
    width: Shaped[np.ndarray, "box"],
    height: Shaped[np.ndarray, "box"],
    resize_mode: str,
) -> Float[np.ndarray, "box 4"]:
    """Boxes (x, y, width, height in pixels of the file) as x0, y0, x1, y1 in [0, 1] of what the tower sees.

    `width` and `height` are those of each box's image. With `shortest`, the shortest side fills the square and what
    sticks out is cropped evenly; with `longest`, the rest of the square is padding; `squash` stretches each side. A
    box that is cropped away has no area.
    """
    if resize_mode == "squash":
        scale_x, scale_y = 1 / width, 1 / height
    else:
        side = np.minimum(width, height) if resize_mode == "shortest" else np.maximum(width, height)
        scale_x = scale_y = 1 / side
    shift_x, shift_y = (1 - width * scale_x) / 2, (1 - height * scale_y) / 2
    x, y, box_width, box_height = np.asarray(boxes, float).T
    corners = np.stack(
        [
            x * scale_x + shift_x,
            y * scale_y + shift_y,
            (x + box_width) * scale_x + shift_x,
            (y + box_height) * scale_y + shift_y,
        ],
        axis=1,
    )
    return corners.clip(0, 1)
