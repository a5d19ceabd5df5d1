"""Opening image files: eight bits a channel, on white, and what had to be changed for that is told.

Pictures of the user's own are turned upright as their orientation tag says. Boxes of annotated data refer to the stored
pixels, so theirs are not turned.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vialign.errors import UserError, not_the_file

CHANGES = {
    "orientation": (
        "are turned upright as their orientation tag says",
        "have an orientation tag, not applied",
    ),
    "turned": ("are TIFF files whose orientation tag is applied, which their boxes may not know",) * 2,
    "depth": ("have more than 8 bits a channel and are scaled to 8",) * 2,
    "transparency": ("are partly transparent and are laid on white",) * 2,
    "frames": ("have several frames, of which the first is read",) * 2,
    "palette": ("have a palette, whose colours are looked up",) * 2,
    "inks": ("are in inks (CMYK), which are turned to RGB without a profile",) * 2,
    "profile": ("have a colour profile other than sRGB, which is not applied",) * 2,
}
"""What reading changes of an image, or leaves out, in words: of the user's own pictures, and of annotated data."""

MISSING = "no such file"
"""What is wrong with a file that is not there."""

_ORIENTATION = 0x0112
_HEAD = 12
_PHONES = (b"heic", b"heix", b"mif1", b"hevc")
"""Kinds of HEIC, as the file itself says after its first eight bytes."""
WORKERS = 4
"""Files that are decoded at a time, at most: decoding and waiting for a disk go on side by side."""
_WAITING = 64
"""Files of each worker that are in the queue."""


class Decoded(NamedTuple):
    """A picture as the towers get it."""

    picture: Image.Image
    """In mode RGB."""
    changes: frozenset[str]
    """Names of `CHANGES`."""


class Checked(NamedTuple):
    """What is known of an image file that can be decoded to its end."""

    width: int
    height: int
    changes: frozenset[str]


class Changes:
    """Counts what was changed, by kind and image."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def add(self, name: str, changes: Iterable[str]) -> None:
        """Note the changes of one image; an image counts once for each, however often it is read."""
        for change in changes:
            self._names.setdefault(change, {})[name] = None

    def lines(self, own: bool) -> Iterator[tuple[list[str], str]]:
        """Names of the images and what was done to them, for each kind that there was."""
        for change, (of_own, annotated) in CHANGES.items():
            if change in self._names:
                yield list(self._names[change]), of_own if own else annotated


def open_image(file: Path, own: bool) -> Decoded:
    """One picture, decoded to its end; turned upright where it is the user's `own`.

    Raises UserError naming the file when it is missing or cannot be decoded.
    """
    try:
        with _quiet():
            _require_file(file)
            with Image.open(file) as image:
                return as_rgb(image, own)
    except Exception as error:
        raise UserError(f"{file}: {_reason(error, file)}") from None


def as_rgb(image: Image.Image, own: bool) -> Decoded:
    """A picture in mode RGB: depth scaled to 8 bits, transparency on white, turned upright where it is `own`.

    A picture that was through here comes back as it is. Raises ValueError for numbers without a known range.
    """
    changes = _header_changes(image)
    if image.format == "TIFF" and _orientation(image) != 1:  # Pillow turns it itself when it is loaded
        changes.add("orientation" if own else "turned")
    image.load()
    if _orientation(image) != 1:
        changes.add("orientation")
        image = ImageOps.exif_transpose(image) if own else image
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        changes.add("depth")
        image = _eight_bits(image)
    elif image.has_transparency_data:
        layers = image.convert("RGBA")
        if np.asarray(layers)[..., 3].min() < 255:
            changes.add("transparency")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers)
    return Decoded(image.convert("RGB") if image.mode != "RGB" else image.copy(), frozenset(changes))


def header_size(file: Path) -> tuple[int, int] | str:
    """Width and height as the head of the file states them, or what is wrong with it; nothing is decoded."""
    try:
        _require_file(file)
        with _quiet(), Image.open(file) as image:
            return image.size
    except Exception as error:
        return _reason(error, file)


def check_images(files: Sequence[Path]) -> Iterator[Checked | str]:
    """Whether each file can be decoded to its end: what is known of it, or what is wrong with it; in order.

    A JPEG is decoded at an eighth of its size, which reads every byte of it in half the time; several files are decoded
    at a time.
    """
    workers = min(WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    rest = iter(files)
    with ThreadPoolExecutor(workers) as pool:
        while block := list(islice(rest, workers * _WAITING)):
            with _quiet():
                found = list(pool.map(_check, block))
            yield from found


def _check(file: Path) -> Checked | str:
    try:
        _require_file(file)
        with Image.open(file) as image:
            size, changes = image.size, _header_changes(image)
            if image.format == "JPEG":
                image.draft(None, (1, 1))
            if image.format == "JPEG" and image.mode in ("RGB", "L", "CMYK"):
                image.load()
                changes |= {"orientation"} if _orientation(image) != 1 else set()
            else:
                changes |= as_rgb(image, own=False).changes
            return Checked(*size, frozenset(changes))
    except Exception as error:
        return _reason(error, file)


def _header_changes(image: Image.Image) -> set[str]:
    """What can be seen before the pixels are read."""
    found = set()
    # A file of several pictures of a camera (MPO) shows the same one again, smaller.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        found.add("frames")
    if image.mode in ("P", "PA"):
        found.add("palette")
    if image.mode == "CMYK":
        found.add("inks")
    # Pillow keeps the upper 8 bits of colour images of more; how a tile is stored is all that tells.
    if any(depth in str(getattr(image, "tile", "")) for depth in (";16", ";12", ";32")):
        found.add("depth")
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        found.add("profile")
    return found


def _orientation(image: Image.Image) -> int:
    """The orientation tag, 1 (upright) where there is none or it cannot be read."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16-bit numbers, or of fractions, in 8 bits."""
    values = np.asarray(image)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    most = 1.0 if image.mode == "F" else 65535.0
    if not 0 <= low <= high <= most:
        raise ValueError(f"it holds numbers from {low:g} to {high:g}, which must lie from 0 to {most:g}")
    return Image.fromarray(np.rint(values.astype(np.float64) * (255 / most)).astype(np.uint8))


def _require_file(file: Path) -> None:
    """Raises FileNotFoundError or OSError: a pipe or a device would be waited for."""
    if not file.is_file():
        raise OSError("it is not a file") if file.exists() else FileNotFoundError


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, UnidentifiedImageError):
        return f"cannot be read as an image (it {_instead(file)})"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot be read as an image ({' '.join(said.split()) or type(error).__name__})"


def _instead(file: Path) -> str:
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    if head[4:8] == b"ftyp" and head[8:12] in _PHONES:
        return "is in HEIC, the format of phones; save it as JPEG"
    return not_the_file(file) or "is in no known image format"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Pillow's warnings, which name no file, off the console."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
