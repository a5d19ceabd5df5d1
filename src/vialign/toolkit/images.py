"""Image files by their content: which of them were used for what, and how broken ones are passed over."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.data.base import TOLERANCE, too_many
from vialign.errors import UserError
from vialign.features.pixels import read_image
from vialign.files.images import Changes, Decoded
from vialign.progress import track
from vialign.random import generator
from vialign.toolkit.captions import Captions, shorten, warn

if TYPE_CHECKING:
    from PIL import Image

NONE = "none"
"""What an image was used for that no part of a signal has seen."""


@dataclass
class Broken:
    """Counts image files that cannot be read and what is changed of others.

    Stops at the first broken one when `strict`, and as soon as there are more than may be passed over.
    """

    strict: bool = False
    total: int = 0
    """Images that are to be read; 0: there is no limit to broken ones."""
    tolerance: float = TOLERANCE
    """Share of them that may be broken."""
    names: list[str] = field(default_factory=list)
    first: str = ""
    """What is wrong with the first of them."""
    changes: Changes = field(default_factory=Changes)

    def read(self, folder: Path, image_id: str) -> "Image.Image | None":
        """The picture, upright, or None where it cannot be read.

        Raises UserError when strict, and at one broken image more than may be passed over.
        """
        try:
            decoded = read_own(folder, image_id)
        except UserError as error:
            if self.strict:
                raise
            self.first = self.first or str(error)
            self.names.append(image_id)
            if self.total and too_many(len(self.names), self.total, self.tolerance):
                raise UserError(
                    f"{folder}: {len(self.names)} of {self.total} images cannot be read, more than --tolerance "
                    f"({self.tolerance:g}); raise it to go on without them; the first: {self.first}"
                ) from None
            return None
        self.changes.add(image_id, decoded.changes)
        return decoded.picture

    def report(self) -> None:
        """One line on stderr for broken images, and one for each kind of change, where there were any."""
        for changed, text in self.changes.lines(own=True):
            warn(f"{len(changed)} images {text} ({shorten(changed)})")
        if self.names:
            names = shorten(self.names)
            warn(f"{len(self.names)} image files cannot be read and are skipped ({names}); the first: {self.first}")


def read_own(folder: Path, image_id: str) -> Decoded:
    """A picture of the user's, upright. Raises UserError as `read_image`."""
    return read_image(folder, image_id, image_id, own=True)


def content_digest(file: Path) -> str:
    """sha256 of a file's bytes: the same picture is recognised under any name and in any folder."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def draw_parts(captions: Captions, sizes: Mapping[str, int], seed: int, broken: Broken) -> pd.DataFrame:
    """Draw disjoint parts of the images by seed: columns `image_id`, `content` (digest) and `used_for`.

    `sizes` holds the images of each part. Pictures with the same content are in the same part, once; files that cannot
    be read are in none, and others take their place as long as there are any.
    """
    wanted = [part for part, size in sizes.items() for _ in range(size)]
    # Shuffled, so that a shortage of images falls on every part.
    wanted = [wanted[place] for place in generator(seed, "toolkit parts").permutation(len(wanted))]
    rows: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for image_id in track(_shuffled(captions, seed), "drawing images", total=len(captions.image_ids)):
        if len(rows) == len(wanted):
            break
        digest = content_digest(captions.folder / image_id)
        if digest not in seen and broken.read(captions.folder, image_id) is not None:
            seen.add(digest)
            rows.append((image_id, digest, wanted[len(rows)]))
    return pd.DataFrame(rows, columns=["image_id", "content", "used_for"])


def draw_unused(captions: Captions, used: Collection[str], count: int, seed: int) -> list[str]:
    """At most `count` images of different content, drawn by seed, whose digest is not in `used`."""
    seen = set(used)
    fresh: list[str] = []
    for image_id in track(_shuffled(captions, seed), "looking for unused images", total=len(captions.image_ids)):
        if len(fresh) == count:
            break
        digest = content_digest(captions.folder / image_id)
        if digest not in seen:
            seen.add(digest)
            fresh.append(image_id)
    return fresh


def images_used_for(captions: Captions, used: Mapping[str, str], part: str) -> list[str]:
    """Images of the folder, one of each content, that a signal's `used` says were used for `part`."""
    found: dict[str, str] = {}
    for image_id in track(captions.image_ids, f"looking for the images used to {part}"):
        digest = content_digest(captions.folder / image_id)
        if used.get(digest) == part:
            found.setdefault(digest, image_id)
    return list(found.values())


def _shuffled(captions: Captions, seed: int) -> Iterator[str]:
    names = captions.image_ids
    return (names[place] for place in generator(seed, "toolkit images").permutation(len(names)))
