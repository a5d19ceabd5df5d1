"""How the command line shows what went wrong: one line, and never a traceback unless it is asked for."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vialign.errors import UNFORESEEN, UserError, printable, unforeseen

TRACEBACK = "VIALIGN_TRACEBACK"
"""Environment variable: set to anything, it shows the traceback of an error too."""


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
        line = str(error)
        if not isinstance(error, UserError):
            line = unforeseen(error)
            if line.startswith(UNFORESEEN):
                line += f"; please report it with the traceback ({_kept_traceback()})"
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(f"vialign: {printable(line)}", file=sys.stderr)
        raise typer.Exit(1) from None


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
