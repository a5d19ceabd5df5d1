"""What a searchable collection costs: the first index, one with nothing to do, one after pictures were added, a query.

    python benchmarks/collection.py photos/images --model exported
    python benchmarks/collection.py photos/images --model base.json --pretrained base.safetensors --units units
    python benchmarks/collection.py photos/images --model exported --keep /tmp/collection   # the index stays there

The pictures are copied first, so that theirs stay as they are; what is added are mirror images of the first ones,
whose content is new. Indexing is measured as a process of its own (time, time on all cores, peak memory); queries in
this one, once the collection is loaded, and through the server of `vialign serve`. Prints a Markdown table, and exits
with 1 where a second run touches a file, or another number of pictures is encoded than is new.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from threading import Thread
from urllib.parse import quote
from urllib.request import urlopen

from PIL import Image, ImageOps

WORDS = (
    "a dog runs on the beach",
    "two children play with a ball",
    "a man in a red shirt climbs a rock",
    "a woman with a hat next to a blue car",
    "a brown dog jumps over a fence",
    "people sit on a bench in the snow",
    "a boy on a skateboard",
    "a black dog left of a white dog",
)
ROUNDS = 5
SPENT = re.compile(r"(\d+) pictures: (\d+) encoded")


def run_index(pictures: Path, out: Path, options: list[str]) -> tuple[str, int]:
    """A row of the table for one `vialign index`, and how many pictures it encoded."""
    command = [sys.executable, "-m", "vialign.cli.app", "index", str(pictures), "--out", str(out), *options]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    found = SPENT.search(said)
    if status or found is None:
        sys.exit(f"collection: `{' '.join(command)}` failed")
    spent, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return f"{found[1]} | {found[2]} | {seconds:.1f} | {spent:.1f} | {peak:.0f} |", int(found[2])


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def add_mirrored(pictures: Path, count: int) -> None:
    """New content: the first pictures the other way round."""
    for path in sorted(pictures.rglob("*"))[:count]:
        with Image.open(path) as picture:
            ImageOps.mirror(picture.convert("RGB")).save(pictures / f"mirrored-{path.stem}.png")


def timed(call: object, *given: object) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call(*given)  # type: ignore[operator]
    return 1000 * (time.perf_counter() - began)


def query_rows(index: Path) -> list[str]:
    """Rows of the table for queries: by themselves and through the server, with and without a second look."""
    from vialign.collection.searching import Collection
    from vialign.report.server import search_server

    began = time.perf_counter()
    collection = Collection(index)
    rows = [f"load {len(collection)} pictures | {1000 * (time.perf_counter() - began):.0f} | |"]
    again = (False,) if collection.aligner.method.name == "frozen" else (False, True)
    with search_server(collection, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/?q="
        for rerank in again:
            look = ", second look" if rerank else ""
            own = [timed(collection.search, words, 30, rerank) for _ in range(ROUNDS) for words in WORDS]
            served = [
                timed(lambda place: urlopen(place).read(), address + quote(words) + ("&rerank=1" if rerank else ""))
                for _ in range(ROUNDS)
                for words in WORDS
            ]
            rows.append(f"query{look} | {median(own):.0f} | {max(own):.0f} |")
            rows.append(f"query through the server{look} | {median(served):.0f} | {max(served):.0f} |")
        server.shutdown()
    return rows


def main() -> None:
    """Copy, index three times, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--added", type=int, default=100, help="pictures to add after the first index")
    parser.add_argument("--keep", type=Path, help="folder for the copies and the index; a temporary one by default")
    told, options = parser.parse_known_args()
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        place = (told.keep or Path(temporary)).resolve()
        pictures, index = place / "pictures", place / "index"
        shutil.copytree(told.pictures, pictures)
        print("| `vialign index` | pictures | encoded | s | CPU s | peak MB |\n| --- | --- | --- | --- | --- | --- |")
        first, _ = run_index(pictures, index, options)
        print(f"| first | {first}", flush=True)
        before = state(index)
        second, encoded = run_index(pictures, index, options)
        print(f"| again | {second}", flush=True)
        if encoded or state(index) != before:
            wrong.append("a second run touches something")
        add_mirrored(pictures, told.added)
        third, encoded = run_index(pictures, index, options)
        print(f"| {told.added} added | {third}", flush=True)
        if encoded != told.added:
            wrong.append(f"{encoded} pictures were encoded where {told.added} are new")
        print("\n| after that | median ms | most ms |\n| --- | --- | --- |")
        for row in query_rows(index):
            print(f"| {row}", flush=True)
    if wrong:
        sys.exit(f"collection: {'; '.join(wrong)}")


if __name__ == "__main__":
    main()
