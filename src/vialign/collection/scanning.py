"""The pictures below a folder, and what else lies there."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from vialign.errors import UserError
from vialign.files.images import Changes


@dataclass(frozen=True)
class Seen:
    """A file as the folder lists it."""

    path: str
    """Relative to the folder, with `/`."""
    size: int
    modified: int
    """Nanoseconds since 1970."""


@dataclass
class Skipped:
    """What was passed over, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    """An example of each reason."""
    changes: Changes = field(default_factory=Changes)

    def add(self, reason: str, path: str) -> None:
        """Count one file."""
        self.counts[reason] += 1
        self.first.setdefault(reason, path)

    def lines(self) -> list[str]:
        """One line a reason, most frequent first."""
        return [f"{count} {reason} (such as {self.first[reason]})" for reason, count in self.counts.most_common()]


NO_PICTURE = "files are in no format of a picture"
LINK = "links are not followed"
BROKEN = "files cannot be read as a picture"


def scan(folder: Path, skipped: Skipped) -> list[Seen]:
    """Every picture below a folder, by name; links are left out, and so are hidden files.

    A file counts as a picture by its ending, in any format that Pillow reads. Raises UserError where the folder is
    none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pictures")
    endings = {ending for ending, format_ in Image.registered_extensions().items() if format_ in Image.OPEN}
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            if os.path.islink(os.path.join(place, name)):
                folders.remove(name)
                skipped.add(LINK, name)
        for name in sorted(files):
            full = os.path.join(place, name)
            path = os.path.relpath(full, folder).replace(os.sep, "/")
            if name.startswith("."):
                continue
            if os.path.islink(full):
                skipped.add(LINK, path)
            elif os.path.splitext(name)[1].lower() not in endings:
                skipped.add(NO_PICTURE, path)
            elif not _is_text(path):
                skipped.add("names are not UTF-8", repr(path))
            else:
                state = os.stat(full)
                if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for
                    skipped.add(BROKEN, path)
                    continue
                found.append(Seen(path, state.st_size, state.st_mtime_ns))
    return found


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
