"""Every format that is read, broken in many ways: no traceback, no hang, and no row that is lost without a word.

`make test` breaks each format 25 times, `make fuzz` 2,000 times. A case is repeated by its number:
`FUZZ_CASE=17 pytest tests/fuzz -k karpathy-coco`.
"""

import faulthandler
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fuzz.artifacts import ARTIFACTS
from fuzz.formats import PUBLISHED, Format
from fuzz.mutations import mutate
from vialign.errors import UserError

CASES = int(os.environ.get("FUZZ", "25"))
ONE = os.environ.get("FUZZ_CASE")
SECONDS = 120
"""After which a case counts as hanging; it takes a few milliseconds."""
MEMORY = 6 * 2**30
"""Bytes that a case may take beyond what the process has: a huge number in a file must not take the machine's."""


class Hang(BaseException):
    """Not an Exception, so that no reader can take it for a broken file."""


@contextmanager
def limited() -> Iterator[None]:
    """Ends what hangs, and refuses memory beyond any reason."""

    def stop(*_: object) -> None:
        raise Hang

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(4 * SECONDS, exit=True, file=sys.__stderr__)
    if pages is not None:
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def kind_of(form: Format, target: Path) -> str:
    """How to break a file: JSON is known by its name where a format has files of several kinds."""
    return "json" if form.kind == "bytes" and target.suffix == ".json" else form.kind


def attempt(form: Format, folder: Path) -> tuple[int | None, str | None]:
    """What the reader accounts for, or the line with which it refuses the file."""
    with limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return form.read(folder), None
        except UserError as error:
            return None, str(error)


def readable(refused: str) -> bool:
    """One line, or, of a configuration, one for each key that is wrong."""
    first, *further = refused.split("\n")
    return len(refused) < 2000 and (not further or all(line.startswith("config: ") for line in (first, *further)))


@pytest.mark.parametrize("form", [*PUBLISHED, *ARTIFACTS], ids=lambda form: form.label)
def test_a_broken_file_is_read_or_refused_in_one_line_and_loses_no_row_without_a_word(form, tmp_path, capsys):
    whole = tmp_path / "whole"
    made = form.make(whole)
    targets = [path.relative_to(whole) for path in (made if isinstance(made, list) else [made])]
    accounted, refused = attempt(form, whole)
    assert refused is None, f"the valid file is refused: {refused}"
    for target in targets:
        expected = form.rows((whole / target).read_bytes())
        assert expected is None or accounted >= expected > 0, "the valid file is not counted right"
    found = []
    for case in range(CASES) if ONE is None else [int(ONE)]:
        target, turn = targets[case % len(targets)], case // len(targets)
        content = (whole / target).read_bytes()
        mutated, how = mutate(content, kind_of(form, target), turn)
        (whole / target).write_bytes(mutated)
        try:
            accounted, refused = attempt(form, whole)
            rows = form.rows(mutated)
            if refused is not None:
                wrong = None if readable(refused) else f"no readable line: {refused[:300]!r}"
            elif accounted is not None and rows is not None and accounted < rows:
                wrong = f"{rows} rows in the file, but {accounted} are accounted for"
            else:
                wrong = None
        except Hang:
            wrong = f"hangs for {SECONDS} s"
        except Exception as error:
            if ONE is not None:
                raise
            wrong = f"{type(error).__name__}: {str(error)[:200]}"
        finally:
            if ONE is None:  # the one that is looked at stays
                (whole / target).write_bytes(content)
        if wrong is not None:
            found.append(
                f"{form.name}, case {case} ({how}): {wrong}; FUZZ_CASE={case} pytest tests/fuzz -k {form.label}"
            )
    capsys.readouterr()
    assert not found, "\n".join([f"{len(found)} of {CASES} cases:", *found[:20]])
