"""How the command line shows an error that a user can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vialign.errors import UserError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a user's error as its one line, with exit status 1 and no traceback."""
    try:
        yield
    except UserError as error:
        print(f"vialign: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
