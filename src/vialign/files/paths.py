"""Whether the places that a command reads and writes are fit for it: asked of all of them together, before any work."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vialign.errors import UserError

TABLE, PAGE, PNG, ANY = b"PAR1", b"<!doctype html", b"\x89PNG", b""
"""How a Parquet file begins, an HTML page (in any case), a picture, and a file of which nothing is asked."""

_GIB = 2**30
_OTHER_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx")
"""Endings of tables in other forms than that of `TABLE`."""


@dataclass(frozen=True)
class Output:
    """A file or a folder that a command is going to write."""

    name: str
    """How the user knows it, such as `--out`."""
    path: Path
    begins: bytes | None = TABLE
    """How a file of its kind begins: such a one in an input folder is an earlier output. None for a folder."""


def check_paths(outputs: Sequence[Output], inputs: Mapping[str, Path | str | None]) -> None:
    """Refuse outputs that cannot be written, or that would replace what the same command reads.

    `inputs` are files and folders by the name that the user knows them by; None and what does not exist are passed
    over. Links are followed, and hard links known by what they lead to. Nothing is left behind.

    Raises UserError naming the output, what is wrong with it and what to do.
    """
    seen: dict[str, str] = {}
    for output in outputs:
        try:
            _check_place(output)
            for name, path in inputs.items():
                if path is not None:
                    _check_apart(output, name, Path(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{output.name}: {output.path}: cannot be written ({_said(error)}); {_ELSE}") from None
        if output.begins == TABLE and output.path.suffix.lower() in _OTHER_TABLES:
            raise UserError(f"{output.name}: {output.path}: is written as Parquet; name it {output.path.stem}.parquet")
        place = os.path.realpath(output.path)
        if place in seen:
            raise UserError(f"{output.name}: {output.path}: is {seen[place]} too; give each its own name")
        seen[place] = output.name


def check_space(path: str | Path, needed: int, what: str) -> None:
    """Raises UserError when the disk of `path` has less than `needed` bytes free; `what` says for what."""
    try:
        free = shutil.disk_usage(_nearest(Path(path))).free
    except OSError:
        return
    if free < needed:
        raise UserError(
            f"{path}: {what} take about {needed / _GIB:.1f} GiB, and {free / _GIB:.1f} GiB are free on that disk; "
            "make room or choose another place"
        )


_ELSE = "choose another place"


def _check_place(output: Output) -> None:
    """Raises UserError or OSError where nothing can be written."""
    path, start = output.path, f"{output.name}: {output.path}"
    if path.parts[:1] == ("~",):
        raise UserError(f"{start}: begins with a `~` that the shell left as it is; write $HOME in its place")
    mode = path.stat().st_mode if path.exists() else None
    if output.begins is None and mode is not None and not stat.S_ISDIR(mode):
        raise UserError(f"{start}: is a file, and a folder is wanted; choose another name")
    if output.begins is not None and mode is not None and stat.S_ISDIR(mode):
        raise UserError(f"{start}: is a folder, and the name of a file is wanted; name a file in it")
    if output.begins is not None and mode is not None and not stat.S_ISREG(mode):
        raise UserError(f"{start}: is a device or a pipe, and a file is wanted; choose another name")
    parent = path if mode is not None and output.begins is None else _nearest(path.parent)
    if not parent.is_dir():
        raise UserError(f"{start}: {parent} is not a folder, so nothing can lie below it; {_ELSE}")
    # Tried, because the rights do not tell: of a mount that is read-only, of /proc, of the administrator.
    try:
        handle, name = tempfile.mkstemp(dir=parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise UserError(f"{start}: nothing can be written to {parent} ({_said(error)}); {_ELSE}") from None
    os.close(handle)
    Path(name).unlink(missing_ok=True)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that there is."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _check_apart(output: Output, name: str, given: Path) -> None:
    """Raises UserError when writing the output would replace an input, or a file in a folder of inputs."""
    if not output.path.exists() or not given.exists():
        return
    own, start = _identity(output.path), f"{output.name}: {output.path}"
    if own == _identity(given):
        raise UserError(f"{start}: is {name} too, an input of this run; choose another name")
    if output.begins is None or not given.is_dir() or _begins(output.path, output.begins):
        return
    if any(_identity(file) == own for file in _files(given)):
        raise UserError(f"{start}: is a file in {given} ({name}), an input of this run; choose another name")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _begins(path: Path, begins: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(begins)).lower() == begins.lower()


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, through links too."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if _identity(Path(place)) in seen:
            folders.clear()
            continue
        seen.add(_identity(Path(place)))
        yield from (path for path in map(Path(place).joinpath, files) if path.exists())


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
