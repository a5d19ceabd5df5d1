"""A folder that appears only when it is complete."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vialign.errors import UserError
from vialign.files.artifacts import unwritten, writing


def check_free(folder: str | Path, what: str) -> None:
    """Refuse a place that already holds something; `what` says what was to lie there. Raises UserError."""
    path = Path(folder)
    if path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None):
        raise UserError(f"{folder}: exists; choose another name for {what}, or delete it")


@contextmanager
def new_folder(folder: str | Path, what: str) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends without an error.

    An empty folder that is there is filled and stays itself: it may be the current one, a link's, or a disk of its own.
    Raises UserError when there is something already, or where nothing can be written.
    """
    check_free(folder, what)
    target = Path(os.path.realpath(folder))
    there = target.is_dir()
    home = target if there else target.parent
    with writing(target):
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=home, prefix=f".{target.name}."))
    try:
        yield temporary
        if there:
            for path in sorted(temporary.iterdir()):
                path.replace(target / path.name)
        else:
            temporary.chmod(0o755)
            temporary.replace(target)
    except OSError as error:
        raise unwritten(target, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
