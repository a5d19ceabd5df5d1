"""Small copies of the run's images, embedded in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign.config.experiment import Config
from vialign.data.folders import image_folders
from vialign.errors import UserError
from vialign.features.pixels import cropped
from vialign.files.images import open_image

SIDE = 168
"""Longest side of a small copy, pixels."""


@dataclass(frozen=True)
class Album:
    """Finds the file of an image id and makes its small copy."""

    files: dict[str, tuple[Path, tuple[float, ...]]]
    """File and the part of it that is seen (`crop` of IMAGES)."""

    def thumbnail(self, image_id: str, side: int = SIDE) -> str | None:
        """The small copy as a data URI, at most `side` pixels wide and high; None where the file cannot be read."""
        if image_id not in self.files:
            return None
        path, crop = self.files[image_id]
        try:
            small = cropped(open_image(path, own=False).picture, crop)
        except UserError:
            return None
        small.thumbnail((side, side))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def open_album(images: pd.DataFrame | None, results: Path, config: Config) -> Album:
    """The album of a run: paths of the table are relative to the folder of their source."""
    if images is None:
        return Album({})
    folders = image_folders(config.data, results / "data")
    columns = (images[name] for name in ("image_id", "path", "source", "crop"))
    return Album(
        {image_id: (folders[source] / path, tuple(crop)) for image_id, path, source, crop in zip(*columns, strict=True)}
    )
