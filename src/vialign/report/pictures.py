"""Small copies of the run's images, embedded in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from vialign.config import Config
from vialign.data.registry import image_folder

SIDE = 168
"""Longest side of a small copy, pixels."""


@dataclass(frozen=True)
class Album:
    """Finds the file of an image id and makes its small copy."""

    files: dict[str, Path]

    def thumbnail(self, image_id: str) -> str | None:
        """The small copy as a data URI; None where the file is missing or cannot be read."""
        path = self.files.get(image_id)
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                small = picture.convert("RGB")
        except (OSError, UnidentifiedImageError):
            return None
        small.thumbnail((SIDE, SIDE))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def open_album(images: pd.DataFrame | None, results: Path, config: Config) -> Album:
    """The album of a run: paths of the table are relative to the data set's image folder."""
    if images is None:
        return Album({})
    folder = image_folder(config.data, results / "data")
    return Album({image_id: folder / path for image_id, path in zip(images["image_id"], images["path"], strict=True)})
