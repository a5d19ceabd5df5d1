"""Who is at work on a file or a results folder: locks that end with the process that holds them, however it ends.

Where a file system has no locks (some network ones), nothing is held, and nothing that may be alive is removed.
"""

import os
import re
import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from vialign.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
"""The name of a file that is being written beside its target."""
_swept: set[Path] = set()
_held: list[IO[str]] = []


def take(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file; False where another holds it, None where the file system has no locks."""
    if fcntl is None:
        return None  # type: ignore[unreachable]
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def new_part(target: Path) -> tuple[int, Path]:
    """An open, locked, empty file beside `target` to write it to; what killed processes left in that folder goes first.

    Raises OSError where nothing can be written.
    """
    folder = target.parent
    if folder not in _swept:
        _swept.add(folder)
        remove_stale_parts(folder)
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.name}.", suffix=".part")
        # Another process may have taken it for a stale one before it was locked.
        if take(handle, wait=True) is None or os.path.exists(name):
            return handle, Path(name)
        os.close(handle)


def remove_stale_parts(folder: Path, *, below: bool = False) -> int:
    """Remove the unfinished files of processes that are gone from a folder, and from those below; how many."""
    count = 0
    for place, _, names in os.walk(folder):
        for name in filter(PART.fullmatch, names):
            count += _remove_stale(os.path.join(place, name))
        if not below:
            break
    return count


def _remove_stale(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if take(handle) is not True:
            return False
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """While the block runs, SIGTERM ends it as Ctrl-C does: blocks are left, unfinished files go; exit status 143."""
    try:
        before = signal.signal(signal.SIGTERM, _end)
    except ValueError:  # not the main thread, which is the one that is told
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_cleanly() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def lock_results(results: Path | str) -> bool:
    """Hold a results folder for this process until it ends; whether it is held (not where there are no locks).

    Raises UserError when another run holds it, or jobs of a killed run are still at work in it.
    """
    folder = Path(results)
    run = _open_lock(folder, "run")
    taken = take(run.fileno())
    if taken is False:
        raise UserError(f"{folder}: another run is at work in this results folder; wait for it, or change `results`")
    jobs = _open_lock(folder, "jobs")
    free = take(jobs.fileno())
    jobs.close()
    if free is False:
        raise UserError(f"{folder}: jobs of a run that was killed are still at work here; wait for them, or end them")
    _held.append(run)
    return bool(taken)


def join_run(results: Path | str) -> None:
    """Say until this process ends that a job is at work in a results folder."""
    jobs = _open_lock(Path(results), "jobs")
    take(jobs.fileno(), shared=True, wait=True)
    _held.append(jobs)


def _open_lock(folder: Path, name: str) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / f".{name}.lock").open("a")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another place in `results`") from None


def remove_stale_locks(folder: Path | str, results: Path | str) -> int:
    """Remove the locks that a killed Snakemake left in `folder` on files of `results`, which this process holds.

    A lock that names a file elsewhere belongs to another run and stays. Gives how many were removed.
    """
    count, inside = 0, os.path.abspath(results) + os.sep
    for lock in sorted(Path(folder).glob("*.lock")):
        try:
            lines: Iterable[str] = lock.read_text(encoding="utf-8").splitlines()
            if all(os.path.abspath(line).startswith(inside) for line in lines):
                lock.unlink()
                count += 1
        except OSError:
            continue
    return count
