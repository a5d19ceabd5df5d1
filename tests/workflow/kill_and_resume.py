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

import numpy as np
import pandas as pd
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
LONGER = "training: {early_steps: 60, steps: 160, keep_seconds: 0.5}\n"
FINAL = ("signal", "search", "train", "ablate", "evaluate", "compare", "analyse")
"""Folders whose files must be the same; the ledger under `budget` measures time, which never is."""
TIMES = ["seconds"]


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


def difference(first: Path, second: Path) -> str | None:
    """In what two files of the same name differ; None where they hold the same."""
    if first.suffix == ".safetensors":
        one, two = load_file(first), load_file(second)
        same = one.keys() == two.keys() and all(bool((one[name] == two[name]).all()) for name in one)
        return None if same else "tensors differ"
    frames = [pd.read_parquet(path).drop(columns=TIMES, errors="ignore") for path in (first, second)]
    if frames[0].equals(frames[1]):
        return None
    if frames[0].shape != frames[1].shape:
        return f"shapes {frames[0].shape} and {frames[1].shape}"
    numbers = frames[0].select_dtypes("number").columns
    gap = np.nanmax(np.abs(frames[0][numbers].to_numpy(float) - frames[1][numbers].to_numpy(float)))
    return f"values differ by up to {gap:.3g}"


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
        files = [
            path.relative_to(whole)
            for name in FINAL
            for path in sorted((whole / "results" / name).rglob("*"))
            if path.suffix in (".parquet", ".safetensors")
        ]
        found = {path: difference(whole / path, broken / path) for path in files if (broken / path).exists()}
        wrong = [f"{path}: missing" for path in files if path not in found]
        wrong += [f"{path}: {said}" for path, said in found.items() if said]
        print(f"{kills} kills; {len(files)} files compared, {len(wrong)} differ")
        print("\n".join(wrong))
        return int(bool(wrong))


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*given, *(10, 0)[len(given) :]))
