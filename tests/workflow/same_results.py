"""Whether two runs of the same experiment hold the same results.

`python tests/workflow/same_results.py FIRST SECOND` compares every table and every tensor of two results folders. FIRST
may be of an earlier version: its files are looked for under their names of today.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

FINAL = ("signal", "search", "train", "ablate", "evaluate", "compare", "analyse")
"""Folders whose files must be the same; the ledger under `budget` measures time, which never is."""
EVERYTHING = ("",)
TIMES = ["seconds"]
TIMED = r"_seconds|_control\b|inference_overhead|training_overhead"
"""Measures of the ledger, and criteria about them, that a clock decides."""
DECIDED_BY_TIMES = {"gates/budget.parquet": ["action", "required"]}
RENAMED = {"compare/calibration.parquet": "compare/reproduction.parquet"}
"""Files of earlier versions that have another name today; their columns are the same."""


def difference(first: Path, second: Path) -> str | None:
    """In what two files of the same name differ; None where they hold the same."""
    if first.suffix == ".safetensors":
        one, two = load_file(first), load_file(second)
        same = one.keys() == two.keys() and all(bool((one[name] == two[name]).all()) for name in one)
        return None if same else "tensors differ"
    frames = [_untimed(path) for path in (first, second)]
    if frames[0].equals(frames[1]):
        return None
    if frames[0].shape != frames[1].shape or list(frames[0]) != list(frames[1]):
        return f"shapes {frames[0].shape} and {frames[1].shape}, columns {set(frames[0]) ^ set(frames[1]) or 'alike'}"
    other = [name for name in frames[0] if not frames[0][name].equals(frames[1][name])]
    numbers = frames[0][other].select_dtypes("number").columns
    if len(numbers) < len(other):
        return f"columns {', '.join(other)} differ"
    gap = np.nanmax(np.abs(frames[0][numbers].to_numpy(float) - frames[1][numbers].to_numpy(float)))
    return f"values of {', '.join(other)} differ by up to {gap:.3g}"


def _untimed(path: Path) -> pd.DataFrame:
    """The table without what a clock measures or decides."""
    frame = pd.read_parquet(path).drop(columns=TIMES, errors="ignore")
    for name in {"measure", "criterion"} & set(frame):
        frame = frame[~frame[name].str.contains(TIMED)].reset_index(drop=True)
    return frame.drop(columns=DECIDED_BY_TIMES.get("/".join(path.parts[-2:]), []))


def differences(first: Path, second: Path, folders: Iterable[str] = FINAL) -> tuple[int, list[str]]:
    """How many files under `folders` of the first results folder there are, and a line for each that the second lacks
    or has otherwise.
    """
    files = [
        path.relative_to(first)
        for name in folders
        for path in sorted((first / name).rglob("*"))
        if path.suffix in (".parquet", ".safetensors")
    ]
    found = {}
    for path in files:
        today = second / RENAMED.get(path.as_posix(), path)
        found[path] = difference(first / path, today) if today.exists() else "missing"
    return len(files), [f"{path}: {said}" for path, said in found.items() if said]


if __name__ == "__main__":
    count, lines = differences(Path(sys.argv[1]), Path(sys.argv[2]), EVERYTHING)
    print("\n".join([f"{count} tables and tensor files compared, {len(lines)} differ", *lines]))
    sys.exit(bool(lines))
