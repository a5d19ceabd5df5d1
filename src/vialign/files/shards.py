"""One of several jobs that share a split: which items it takes, and how what they made becomes one again."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vialign.files.artifacts import Provenance, atomic_path, read_provenance

_OWN = ("wildcard_", "table")
"""Begin what provenance says of one file, or of the job that made it, and not of what the file holds."""


@dataclass(frozen=True)
class Shard:
    """What one of several jobs does of a split; without others, all of it."""

    number: int = 1
    """From 1."""
    of: int = 1
    """How many jobs there are."""

    @classmethod
    def of_job(cls, wildcards: Any) -> "Shard":
        """Of a job with these wildcards: the second of three has `2-of-3` in `shard`, and a job alone has none."""
        name = getattr(wildcards, "shard", None)
        return cls() if name is None else cls(*map(int, name.split("-of-")))

    def rows(self, count: int, unit: int = 1) -> range:
        """The positions of this shard among `count` items.

        They are whole runs of `unit` items, the last of which may be shorter, so that what is worked on together stays
        together. The shards follow each other and hold every item once; with more shards than runs some hold none.
        """
        runs = -(-count // unit)
        first, last = (runs * number // self.of * unit for number in (self.number - 1, self.number))
        return range(min(first, count), min(last, count))


def gathered_provenance(part: str | Path, own: Mapping[str, str]) -> Provenance:
    """What a file says that is put together of shards: what they say of their content, and what made it itself."""
    said = read_provenance(part).items()
    return {**{name: value for name, value in said if not name.startswith(_OWN)}, **own}


def link(source: Path, target: Path) -> None:
    """Give a file a second name in place of what has it; a copy of it where the disk knows no such names.

    Raises UserError where it cannot be written.
    """
    try:
        target.unlink(missing_ok=True)
        os.link(source, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
