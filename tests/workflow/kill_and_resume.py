"""Kill the pipeline with -9 at random moments, resume it each time, and compare with a run that nobody touched.

    python tests/workflow/kill_and_resume.py [kills] [seed]

Both runs are `configs/tiny.yaml` with longer trainings, so that kills hit them too. Moments are drawn over search,
training, ablation and evaluation. It takes about fifteen minutes on two cores, so it is run by hand;
docs/measurements.md states what it said. Exit status 1 when a table differs.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from same_results import FINAL, differences

ROOT = Path(__file__).parents[2]
LONGER = "training: {early_steps: 60, steps: 160, keep_seconds: 0.5}\n"


def command(folder: Path, *arguments: str) -> list[str]:
    """One call of Snakemake in `folder`."""
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [
        *base,
        "--cores",
        "2",
        "--configfile",
        str(ROOT / "configs/tiny.yaml"),
        str(folder / "longer.yaml"),
        *arguments,
    ]


def run(folder: Path, *arguments: str) -> None:
    """Run to the end; raises when that fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(folder, *arguments), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{folder}: {done.stderr[-3000:]}")


def killed(folder: Path, seconds: float) -> bool:
    """Run for so long, then kill every process of it; whether it was still running."""
    started = subprocess.Popen(
        command(folder, "--rerun-incomplete", "--", "all"),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        started.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        time.sleep(1)
        run(folder, "--unlock")
        return True


def main(kills: int, seed: int) -> int:
    """Both runs, and their comparison."""
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole, broken = Path(scratch, "whole"), Path(scratch, "broken")
        for folder in (whole, broken):
            folder.mkdir()
            shutil.copy(ROOT / "config.yaml", folder)
            (folder / "longer.yaml").write_text(LONGER, encoding="utf-8")
        run(whole, "--", "all")
        run(broken, "--", "budget")
        hits = 0
        while hits < kills:
            seconds = moments.uniform(8, 30)
            if not killed(broken, seconds):
                print(f"the run came to its end before kill {hits + 1}; its last results are made once more")
                for name in (*FINAL[1:], "report"):
                    shutil.rmtree(broken / "results" / name, ignore_errors=True)
                continue
            hits += 1
            under_way = [path.parent.parent.name for path in broken.glob("results/train/*/*/.*unfinished*")]
            print(f"kill {hits} after {seconds:.1f} s; trainings kept half-way: {under_way or 'none'}", flush=True)
        run(broken, "--rerun-incomplete", "--", "all")
        files, wrong = differences(whole / "results", broken / "results")
        print(f"{kills} kills; {files} files compared, {len(wrong)} differ")
        print("\n".join(wrong))
        return int(bool(wrong))


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(10, 0)[len(given) :]))
