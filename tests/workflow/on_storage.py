"""The tiny experiment with its results in a bucket, by the documented command, against a run on this disk.

    make storage-test          # or, where everything is installed: python tests/workflow/on_storage.py [TARGET]

Starts moto's S3 server on this machine, runs `snakemake --default-storage-provider s3 --default-storage-prefix
s3://BUCKET/vialign -- all`, asks for it again, where nothing may be left to do, and compares every table and weight in
the bucket, and how much every section of the report shows, with a run on this disk. Exit status 1 when one of them
fails or differs; 0 with the reason where the server or the plugin is not installed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bucket import BUCKET, bucket, fetch, missing
from same_results import EVERYTHING, differences

ROOT = Path(__file__).parents[2]
OWN = ("provenance",)
"""Sections of the report that tell of the run itself."""
SHOWN = ("<table", "<svg", "<img", 'class="absent"')
"""What a section shows, and what it says to be missing."""


def sections(page: Path) -> dict[str, tuple[int, ...]]:
    """How many tables, figures and gaps each section of a report has, without those that tell of the run itself."""
    parts = re.split(r'<section id="([\w-]+)"', page.read_text(encoding="utf-8"))
    counted = {name: tuple(map(text.count, SHOWN)) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {name: counts for name, counts in counted.items() if name not in OWN}


def main(target: str) -> int:
    """Both runs, and their comparison."""
    reason = missing()
    if reason is not None:
        print(f"on_storage: skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as scratch, bucket() as environment:
        stored, alone, taken = Path(scratch, "stored"), Path(scratch, "alone"), Path(scratch, "taken")
        for place in (stored, alone):
            place.mkdir()
            shutil.copy(ROOT / "config.yaml", place)
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
        tiny = ["--configfile", str(ROOT / "configs/tiny.yaml"), "--", target]
        storage = ["--default-storage-provider", "s3", "--default-storage-prefix", f"s3://{BUCKET}/vialign"]

        def run(place: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], float]:
            began = time.monotonic()
            command = [*call, *options, *tiny]
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            return done, time.monotonic() - began

        done, seconds = run(stored, *storage)
        files = fetch(environment, taken) if done.returncode == 0 else 0
        print(f"in the bucket: exit {done.returncode}, {files} files, {seconds:.0f} s")
        if done.returncode:
            print(done.stderr[-5000:])
            return 1
        again, seconds = run(stored, *storage, "--dry-run")
        idle = again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
        print(f"asked again: {'nothing' if idle else 'something'} to be done, {seconds:.0f} s")
        if not idle:
            print((again.stdout + again.stderr)[-5000:])
        done, seconds = run(alone)
        print(f"on this disk: exit {done.returncode}, {seconds:.0f} s")
        results = [folder / "results" for folder in (alone, taken / "vialign")]
        count, wrong = differences(*results, EVERYTHING)
        pages = [sections(folder / "report/index.html") for folder in results if (folder / "report").exists()]
        for name in dict.fromkeys(name for page in pages for name in page):
            if len({page.get(name) for page in pages}) > 1:
                wrong.append(f"report: {name}: {[page.get(name) for page in pages]} of {', '.join(SHOWN)}")
        print(f"{count} files compared and {len(pages[0]) if pages else 0} sections of the report, {len(wrong)} differ")
        print("\n".join(wrong))
        return int(bool(wrong) or not idle)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "all"))
