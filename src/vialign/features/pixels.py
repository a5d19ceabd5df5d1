"""From image files to pixels as the image tower sees them, and from boxes on the file to boxes on those pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor

from vialign.errors import UserError

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def load_pixels(
    images: pd.DataFrame, folders: Mapping[str, Path], backbone: "Backbone"
) -> UInt8[Tensor, "image 3 height width"]:
    """Pixels of the images (rows of `IMAGES`) after the backbone's resize and crop, before normalisation.

    `folders` holds, by source, what the column `path` is relative to. Raises UserError when a path leaves it, or a
    file is missing or cannot be decoded.
    """
    size = backbone.image_size
    pixels = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    columns = (images[name] for name in ("image_id", "path", "source", "crop"))
    for row, (image_id, path, source, crop) in enumerate(zip(*columns, strict=True)):
        pixels[row] = backbone.preprocess(cropped(read_image(folders[source], path, image_id), crop))
    return pixels


def cropped(image: Image.Image, crop: Sequence[float]) -> Image.Image:
    """The part of an image that is seen: x, y, width and height in pixels, or all of it where empty."""
    if not len(crop):
        return image
    x, y, width, height = crop
    return image.crop((round(x), round(y), round(x + width), round(y + height)))


def read_image(folder: str | Path, path: str, image_id: str) -> Image.Image:
    """One decoded image, whose path must stay inside the folder.

    Raises UserError naming image and file when it does not, or when the file is missing or not an image.
    """
    file = resolve_inside(folder, path, image_id)
    try:
        with Image.open(file) as image:
            image.load()
            return image.copy()
    except FileNotFoundError:
        raise UserError(f"images, image_id {image_id}: {file}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"images, image_id {image_id}: {file}: cannot be read as an image ({reason}); replace or drop it"
        ) from None


def resolve_inside(folder: str | Path, path: str, image_id: str) -> Path:
    """The file that `path` names inside `folder`, links followed.

    Raises UserError when the path is absolute or leaves the folder, by `..` or by a link.
    """
    root = Path(folder).resolve()
    file = (root / path).resolve()
    if Path(path).is_absolute() or not file.is_relative_to(root):
        raise UserError(f"images, image_id {image_id}: path {path!r} leaves the folder {folder}; correct the table")
    return file


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
