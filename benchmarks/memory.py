"""Peak memory of every stage at two sizes of the data: what grows with it, and what does not.

    python benchmarks/memory.py                      # tiny sizes, and ten times as much
    python benchmarks/memory.py --factor 4 --until encode_split evaluate_method
    python benchmarks/memory.py --keep /tmp/memory   # the two runs stay there, and a second call goes on with them

Both runs are whole runs in folders of their own, with trainings of the same number of steps, the same batches and the
same shards, so only the data differs. While a run goes on, the memory of its jobs is read from /proc many times a
second: what is the process's own (RssAnon). Pages of mapped files are not counted: they leave memory by themselves when
something else needs the room. Prints a Markdown table and exits with 1 when a stage grows by more than `--allowed`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = re.compile(re.escape(f"{ROOT}/.snakemake/scripts/") + r"tmp[^/]*\.(\w+)\.py")
"""Where Snakemake puts the script of a job of this checkout; the group is the script's name."""
OWN = re.compile(r"RssAnon:\s+(\d+) kB")
SIZES = {"train": 200, "calibration": 100, "diagnosis": 100, "diagnosis_domain": 60, "selection": 100, "gate": 60}
SIZES |= {"confirmation": 60, "test": 100, "test_combination": 60, "test_domain": 60}
EVERY = 0.02
"""Seconds between two looks."""


def write_config(factor: int, folder: Path) -> Path:
    """The tiny experiment with so many times the data, with methods that read pixels, tokens and prototypes."""
    config = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text(encoding="utf-8"))
    config |= {"name": f"memory-{factor}", "results": str(folder / f"results_{factor}")}
    config["data"]["sizes"] = {split: factor * size for split, size in SIZES.items()}
    config["training"] |= {"seeds": [0, 1], "methods": ["frozen", "lora", "filip", "vialign"]}
    config["evaluation"]["reproduction"] = {"action": "warn"}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"memory_{factor}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


class Watch(threading.Thread):
    """Follows the jobs' own memory until it is told to stop; `peaks` holds bytes by script."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[str, int] = defaultdict(int)
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look at all processes, again and again."""
        while not self.stopped.wait(EVERY):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    found = SCRIPT.search((process / "cmdline").read_text(errors="replace"))
                    if found is not None:
                        own = OWN.search((process / "status").read_text())
                        if own is not None:
                            peak = int(own.group(1)) * 1024
                            self.peaks[found.group(1)] = max(self.peaks[found.group(1)], peak)
                except OSError:  # the process has ended meanwhile
                    continue


def measure(factor: int, folder: Path, until: list[str], cores: int) -> dict[str, int]:
    """Peak of each script's own memory in bytes, over a whole run into `folder`."""
    config = write_config(factor, folder)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores)]
    command += ["--configfile", str(config), "--", *(until or ["all"])]
    watch = Watch()
    watch.start()
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    watch.stopped.set()
    watch.join()
    if ended.returncode:
        sys.exit(f"memory: the run with {factor} times the data failed:\n{ended.stderr[-3000:]}")
    print(f"{factor} times the data: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return dict(watch.peaks)


def main() -> None:
    """Both runs, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=int, default=10, help="how many times the data the second run has")
    parser.add_argument("--until", nargs="*", default=[], help="rules to run; the whole pipeline by default")
    parser.add_argument("--keep", type=Path, help="folder of the two runs; a temporary one by default")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--allowed", type=float, default=0.10, help="share by which a stage may grow")
    told = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("memory: reads /proc, which this system does not have; run it on Linux")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (told.keep or Path(temporary)).resolve()
        small, large = (measure(factor, folder, told.until, told.cores) for factor in (1, told.factor))
    print(f"| stage | MB | MB at {told.factor} times the data | ratio |\n| --- | --- | --- | --- |")
    grown = []
    for name in sorted(small.keys() & large.keys(), key=lambda name: -large[name]):
        ratio = large[name] / small[name]
        print(f"| {name} | {small[name] / 1e6:.0f} | {large[name] / 1e6:.0f} | {ratio:.2f} |")
        if ratio > 1 + told.allowed:
            grown.append(name)
    if alone := sorted(small.keys() ^ large.keys()):
        sys.exit(f"memory: seen in one of the runs alone, so nothing is known of them: {', '.join(alone)}")
    if grown:
        sys.exit(f"memory: grows by more than {told.allowed:.0%}: {', '.join(grown)}")


if __name__ == "__main__":
    main()
