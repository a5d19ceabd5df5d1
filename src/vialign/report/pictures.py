"""Small copies of the run's images, embedded in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from vialign.config import Config

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
    """The album of a run: paths are relative to the data table, or to the data set's own folder."""
    if images is None:
        return Album({})
    folders = [results / "data", *([Path(config.data.folder)] if config.data.folder else [])]
    files = {}
    for image_id, path in zip(images["image_id"], images["path"], strict=True):
        found = next((folder / path for folder in folders if (folder / path).is_file()), None)
        if found:
            files[image_id] = found
    return Album(files)
