"""Whether two runs of the same experiment hold the same results."""

from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file

FINAL = ("signal", "search", "train", "ablate", "evaluate", "compare", "analyse")
"""Folders whose files must be the same; the ledger under `budget` measures time, which never is."""
TIMES = ["seconds"]


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


def differences(first: Path, second: Path) -> tuple[int, list[str]]:
    """How many files under `FINAL` of the first results folder there are, and a line for each that the second lacks or
    has otherwise.
    """
    files = [
        path.relative_to(first)
        for name in FINAL
        for path in sorted((first / name).rglob("*"))
        if path.suffix in (".parquet", ".safetensors")
    ]
    found = {path: difference(first / path, second / path) if (second / path).exists() else "missing" for path in files}
    return len(files), [f"{path}: {said}" for path, said in found.items() if said]
