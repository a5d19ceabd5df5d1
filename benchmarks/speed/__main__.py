"""All speed comparisons, one process each, and the page of what they found.

    python -m benchmarks.speed                                 # the table alone
    python -m benchmarks.speed --into docs/benchmarks.md       # the whole page
    python -m benchmarks.speed --only transport retrieval --rounds 4
    python -m benchmarks.speed --small                         # a rough look: little of everything, in one process

Run it from the root of a checkout. `--gallery 5000 25010` goes through a gallery of COCO's size, which takes minutes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.speed import features, gallery, page, retrieval, training, transport
from benchmarks.speed.comparison import Comparison, Measured, measure

COMPARISONS: dict[str, Callable[..., Comparison]] = {
    "images": features.images,
    "texts": features.texts,
    "transport": transport.pairs,
    "gallery": gallery.pairs,
    "training": training.epoch,
    "retrieval": retrieval.recalls,
}
ON_FILES = ("images", "texts", "training")
"""Those that take a folder for their files."""
SMALL: dict[str, dict[str, int]] = {
    "images": {"count": 4, "batch": 4},
    "texts": {"count": 16, "batch": 16},
    "training": {"pairs": 4, "batch": 2},
    "retrieval": {"images": 200, "captions": 1000},
}


def rows_of(names: list[str], rounds: int | None, small: bool) -> list[Measured]:
    """The rows of these comparisons, measured in this process."""
    found = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            place = [Path(folder)] if name in ON_FILES else []
            found += measure(COMPARISONS[name](*place, **(SMALL.get(name, {}) if small else {})), rounds)
    return found


def in_process(arguments: list[str]) -> list[dict[str, object]]:
    """What another process of this program finds."""
    command = [sys.executable, "-m", "benchmarks.speed", "--json", *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"speed: `{' '.join(command)}` failed")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(COMPARISONS), default=list(COMPARISONS))
    parser.add_argument("--rounds", type=int, help="of every comparison, instead of its own number")
    parser.add_argument("--small", action="store_true", help="few files, captions and pairs, in one process")
    parser.add_argument("--gallery", nargs=2, type=int, default=(1000, 5000), metavar=("IMAGES", "CAPTIONS"))
    parser.add_argument("--into", type=Path, help="the page to write")
    parser.add_argument("--json", choices=["rows", "whole"], help="print what was found for the program that asks")
    told = parser.parse_args()
    if told.json == "whole":
        print(json.dumps([asdict(gallery.whole(*told.gallery))]))
        return
    if told.json == "rows":
        print(json.dumps([asdict(row) for row in rows_of(told.only, told.rounds, told.small)]))
        return
    before = os.getloadavg()[0]
    if told.small:
        rows, seen = rows_of(told.only, told.rounds, small=True), gallery.whole(*told.gallery)
    else:
        rounds = [] if told.rounds is None else ["--rounds", str(told.rounds)]
        found = [row for name in told.only for row in in_process(["rows", "--only", name, *rounds])]
        rows = [Measured(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}) for row in found]
        (whole,) = in_process(["whole", "--gallery", *map(str, told.gallery)])
        seen = gallery.Whole(**whole)
    print(f"{page.table(rows)}\n\n{page.gallery_words(seen)}")
    if told.into is not None:
        command = shlex.join(["python", "-m", "benchmarks.speed", *sys.argv[1:]])
        told.into.write_text(page.page(rows, seen, (before, os.getloadavg()[0]), command), encoding="utf-8")


if __name__ == "__main__":
    main()
