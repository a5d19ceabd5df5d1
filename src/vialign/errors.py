"""The one exception a user may cause, and the boundary that makes it of whatever goes wrong while a file is read."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

UNFORESEEN = "unforeseen error"
"""How a line begins that tells of a bug."""
_PACKAGE = str(Path(__file__).parent)
_HEAD = 512
"""Bytes that are looked at to tell what a file is in place of what it should be."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)\b", re.IGNORECASE)
_NO_TEXT = {
    b"\x1f\x8b": "is packed with gzip; unpack it first",
    b"PK\x03\x04": "is a zip archive or a workbook of Excel; unpack it, or save the table as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "is a workbook of Excel; save the table as CSV in UTF-8",
    b"PAR1": "is a Parquet file; name it so that it ends in .parquet, or save it as text",
}
"""How a file begins that is no text, and what it is."""
_LONG_WORD = re.compile(r"\S{512,}")
_LONGEST = 4000
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f]+")


class UserError(Exception):
    """Something in the input, the config or the environment is wrong, and the message says how to mend it.

    The message names what was read (file, row, field), what is wrong with it and what to do. What is too long to be
    read, such as a value that swallowed half of a broken file, is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_LONG_WORD.sub(lambda found: f"{found[0][:80]}...{found[0][-20:]}", message)[:_LONGEST])


def require(library: str, extra: str, what: str) -> None:
    """Raises UserError naming the extra of the package, where an optional `library` that `what` needs is not there."""
    if find_spec(library) is None:
        raise UserError(f"{what} needs {library}, which is not installed; add it with `pip install 'vialign[{extra}]'`")


def printable(text: str) -> str:
    """Text from a file as a terminal may show it: what would move its cursor or change its colours is a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def one_line(error: BaseException, longest: int = 200) -> str:
    """What an exception of a library says, as one line without control characters; its kind where it says nothing."""
    words = " ".join(_CONTROL.sub(" ", str(error)).split())
    return (words if len(words) <= longest else f"{words[:longest]} ...") or type(error).__name__


def unforeseen(error: Exception) -> str:
    """One line for an error that nobody foresaw: file and reason of the system, else `UNFORESEEN` and where it was."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or list(frames)
    place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else "an unknown place"
    said, kind = one_line(error), type(error).__name__
    what = kind if said == kind else f"{kind}: {said}"
    if isinstance(error, MemoryError):
        what = f"out of memory ({said})"
    return f"{UNFORESEEN} at {place}: {what}"


def not_the_file(path: str | Path) -> str | None:
    """What lies at `path` in place of a data file, with the mend: nothing at all, a pointer, a web page; else None."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return None
    if not head:
        return "is empty; get it again"
    if head.startswith(_POINTER):
        return "is a Git LFS pointer, not the file that it stands for; fetch that with `git lfs pull`"
    if _PAGE.match(head):
        return "is a web page (such as a server's error page), not the file that was asked for; download it again"
    return None


def is_utf_16(raw: bytes) -> bool:
    """Whether text is UTF-16, with or without its mark: then every other byte of Latin letters is zero."""
    begins = raw[:4]
    return raw.startswith((b"\xff\xfe", b"\xfe\xff")) or (begins.count(0) == 2 and begins[::2].count(0) in (0, 2))


@contextmanager
def reading(file: str | Path, mend: str = "get it again", dataset: str = "") -> Iterator[None]:
    """Around all that reads or parses `file`: whatever is raised inside becomes a UserError with one line.

    A UserError passes as it is. `mend` says what to do with a file that is broken, `dataset` stands before its name.
    The original exception is the cause, so that a log can hold its traceback.
    """
    place = f"{dataset}: {file}" if dataset else str(file)
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        name = file if error.filename is None else error.filename
        raise UserError(f"{dataset + ': ' if dataset else ''}{name}: no such file") from error
    except Exception as error:
        raise UserError(f"{place}: {not_the_file(file) or _reason(error, mend)}") from error


def _reason(error: Exception, mend: str) -> str:
    if isinstance(error, UnicodeDecodeError):
        if is_utf_16(error.object):
            return "is UTF-16 text; save it as UTF-8"
        packed = next((said for magic, said in _NO_TEXT.items() if error.object.startswith(magic)), None)
        if packed is not None:
            return packed
        before = error.object[: error.start]
        line = before.count(b"\n" if b"\n" in error.object else b"\r") + 1
        return f"is not UTF-8 text ({error.reason} at byte {error.start}, line {line}); save it as UTF-8"
    if isinstance(error, RecursionError):
        return f"is nested too deeply to be such a file; {mend}"
    if isinstance(error, MemoryError):
        return f"asks for more memory than there is; {mend}"
    if isinstance(error, IsADirectoryError):
        return "is a folder, where a file is wanted; name a file in it"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror}); {mend}"
    said = one_line(error)
    kind = type(error).__name__
    return f"cannot be read ({said if said == kind else f'{kind}: {said}'}); {mend}"
