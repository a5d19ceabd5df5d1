"""How the command line shows what went wrong: one line, and never a traceback unless it is asked for."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from vialign.errors import UserError, one_line

TRACEBACK = "VIALIGN_TRACEBACK"
"""Environment variable: set to anything, it shows the traceback of an error too."""
_PACKAGE = str(Path(__file__).parent)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show an error as its one line, with exit status 1.

    A user's error says itself what to mend. Of any other, the line says what and where it was, and its traceback is
    written to a file that the line names; `VIALIGN_TRACEBACK` set in the environment shows it instead.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:
        line = str(error) if isinstance(error, UserError) else _unforeseen(error)
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(f"vialign: {line}", file=sys.stderr)
        raise typer.Exit(1) from None


def _unforeseen(error: Exception) -> str:
    """One line for an error that nobody foresaw: file and reason of the system's, else kind, words and place."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or list(frames)
    place = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else "an unknown place"
    said, kind = one_line(error), type(error).__name__
    what = kind if said == kind else f"{kind}: {said}"
    if isinstance(error, MemoryError):
        what = f"out of memory ({said})"
    return f"unforeseen error at {place}: {what}; please report it with the traceback ({_kept_traceback()})"


def _kept_traceback() -> str:
    """Where the traceback of the current exception was written."""
    if os.environ.get(TRACEBACK):
        return "above"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="vialign-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
    except OSError:
        return f"set {TRACEBACK}=1 to see it"
    return file.name
