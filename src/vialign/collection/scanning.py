"""The pictures below a folder, and what else lies there."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

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


class Listing(NamedTuple):
    """What lies below a folder."""

    pictures: list[Seen]
    unread: frozenset[str]
    """Files and folders that could not be looked at, named as `Seen.path`: nothing is known of what lies there now."""

    def may_hold(self, path: str) -> bool:
        """Whether a file may still be there, as nothing is known of it or of a folder above it."""
        places = (path, *map(str, PurePosixPath(path).parents)) if self.unread else ()
        return any(place in self.unread for place in places)


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
LINK = "links are not followed; index the folder that they lead to, or put copies in their place"
BROKEN = "files cannot be read as a picture"
NO_TEXT = "names are not UTF-8"
UNREAD_FOLDER = "folders cannot be read; what is known of the pictures below them is kept"
UNREAD_FILE = "files cannot be looked at; what is known of them is kept"


def scan(folder: Path, skipped: Skipped) -> Listing:
    """Every picture below a folder, by name; links are left out, and so are hidden files.

    A file counts as a picture by its ending, in any format that Pillow reads. Raises UserError where the folder is
    none, or cannot be read itself.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pictures")
    endings = {ending for ending, format_ in Image.registered_extensions().items() if format_ in Image.OPEN}
    found: list[Seen] = []
    unread: set[str] = set()

    def named(full: str) -> str:
        return os.path.relpath(full, folder).replace(os.sep, "/")

    def refused(error: OSError) -> None:
        path = named(error.filename or str(folder))
        if path == ".":
            raise UserError(f"{folder}: cannot be read ({error.strerror}); see to the folder of pictures") from None
        unread.add(path)
        skipped.add(UNREAD_FOLDER, _shown(path))

    for place, folders, files in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in list(folders):
            if os.path.islink(os.path.join(place, name)):
                folders.remove(name)
                skipped.add(LINK, name)
        for name in sorted(files):
            full = os.path.join(place, name)
            path = named(full)
            if name.startswith("."):
                continue
            if os.path.islink(full):
                skipped.add(LINK, path)
            elif os.path.splitext(name)[1].lower() not in endings:
                skipped.add(NO_PICTURE, path)
            elif not _is_text(path):
                skipped.add(NO_TEXT, _shown(path))
            else:
                try:
                    state = os.stat(full)
                except OSError:
                    unread.add(path)
                    skipped.add(UNREAD_FILE, path)
                    continue
                if not stat.S_ISREG(state.st_mode):  # a pipe would be waited for
                    skipped.add(BROKEN, path)
                    continue
                found.append(Seen(path, state.st_size, state.st_mtime_ns))
    return Listing(found, frozenset(unread))


def _shown(path: str) -> str:
    return path if _is_text(path) else repr(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
