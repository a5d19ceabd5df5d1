"""Runs the fenced blocks of a Markdown page in the current folder, in order, as its reader would.

`sh` blocks may hold commands of vialign, `yaml` blocks with a title become files, `python` blocks are run; a block of
another kind is an error. Prints a JSON list of what each command and each `print` said. For a process of its own, so
that the page runs at the speed a reader sees, without the run-time checks of the tests.
"""

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path

from typer.testing import CliRunner

from vialign.cli.app import app

BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def run_page(page: Path) -> list[str]:
    """What the blocks of a page said."""
    said: list[str] = []
    for language, name, content in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            said += [run_command(line) for line in content.replace("\\\n", " ").splitlines()]
        elif language == "yaml":
            Path(name).write_text(content, encoding="utf-8")
        elif language == "python":
            exec(compile(content, str(page), "exec"), {"print": partial(keep, said)})
        else:
            raise ValueError(f"{page}: a block of {language}, which nobody runs")
    return said


def keep(said: list[str], *values: object) -> None:
    said.append(" ".join(str(value) for value in values))


def run_command(line: str) -> str:
    program, *arguments = shlex.split(line)
    if program != "vialign":
        raise ValueError(f"only commands of vialign are run, not {line!r}")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    if result.exit_code:
        raise ValueError(f"{line}: {result.output}")
    return result.stdout


if __name__ == "__main__":
    print(json.dumps(run_page(Path(sys.argv[1]))))
