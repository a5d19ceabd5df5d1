"""Two runs side by side, as frames: what differs in how they were made, and what both measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from vialign.errors import UserError
from vialign.evaluation.compare import difference_columns, measured
from vialign.evaluation.two_level import two_level
from vialign.files.artifacts import read_provenance, read_table
from vialign.files.text import read_yaml
from vialign.report.evidence import GATES, PLACES
from vialign.tables.evaluation import OUTCOMES

CONFIG = "report/config.yaml"
"""Where a run keeps its whole configuration, relative to its results folder."""

_TABLES = (*(f"gate_{gate}" for gate in GATES), "results", "budget", "diagnosis", "images")
_ITEMS = ("captions", "choices", "questions")


@dataclass(frozen=True)
class StoredRun:
    """What one results folder says of itself and of what it measured."""

    folder: Path
    frames: dict[str, pd.DataFrame]
    """The tables that are compared, by their name in `evidence.PLACES`; one that the run lacks is not there."""
    settings: dict[str, str] | None
    """The whole configuration by dotted key; None where the run does not store it."""
    facts: dict[str, str]
    """Name of the configuration, seed, versions, machine, backbone, and the code digest of each rule."""


def read_run(folder: Path) -> StoredRun:
    """Read a results folder.

    Raises UserError when it is missing, holds no table of a run, or one that is broken.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the results folder of a run")
    frames = {}
    for name in (*_TABLES, *_ITEMS):
        path, table = PLACES[name]
        if (folder / path).exists():
            frames[name] = read_table(folder / path, table)
    if not frames:
        raise UserError(f"{folder}: holds no table of a run; name the folder that has data/ and signal/ in it")
    return StoredRun(folder, frames, _settings(folder / CONFIG), _facts(folder))


def _settings(path: Path) -> dict[str, str] | None:
    # Read as it stands and not as a Config: a run of an older version may hold keys that are gone.
    if not path.exists():
        return None
    settings = read_yaml(path, "")
    if not isinstance(settings, dict):
        raise UserError(f"{path}: is no configuration of a run; run it again")
    return dict(_flat(settings))


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _facts(folder: Path) -> dict[str, str]:
    """Every value of a field that artifacts differ in is listed, joined by commas."""
    found: dict[str, set[str]] = {}
    shards = "features/*/*/"
    for path in sorted([*folder.rglob("*.parquet"), *folder.rglob("*.safetensors")]):
        if path.relative_to(folder).match(shards + "*.parquet") and path.name != "manifest.parquet":
            continue
        made = read_provenance(path)
        for name, value in made.items():
            if name.startswith(("version_", "backbone_")) or name in ("python", "machine", "seed", "config_name"):
                found.setdefault(name.removeprefix("version_"), set()).add(value)
        if "rule" in made:
            found.setdefault(f"code of {made['rule']}", set()).add(made.get("code_digest", "")[:10])
    return {name: ", ".join(sorted(values)) for name, values in sorted(found.items())}


def different(first: Mapping[str, str], second: Mapping[str, str]) -> pd.DataFrame:
    """Entries whose values differ or that one side lacks: columns name, first, second (missing where it lacks it)."""
    names = dict.fromkeys([*first, *second])
    rows = [(name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)]
    return pd.DataFrame(rows, columns=["name", "first", "second"])


def joined(first: StoredRun, second: StoredRun, name: str, keys: Sequence[str]) -> pd.DataFrame:
    """One table of both runs, row beside row: columns end in `_a` and `_b`, missing where a run has no such row.

    Rows stand in the order of the first run, then those that only the second has. Empty when either lacks the table.
    """
    if name not in first.frames or name not in second.frames:
        return pd.DataFrame()
    one, other = first.frames[name], second.frames[name]
    both = one.merge(other, on=list(keys), how="outer", suffixes=("_a", "_b"), sort=False)
    order = pd.concat([one[list(keys)], other[list(keys)]]).drop_duplicates().reset_index(drop=True)
    return order.merge(both, on=list(keys), how="left")


def unpaired_difference(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """Difference second minus first of two independent estimates, its interval from both intervals.

    Method of variance estimates recovery (Zou and Donner 2008, equation 3). `frame` is of `joined` and has the
    columns low and high beside `value`; missing where either run lacks the value or its interval. Columns difference,
    low, high.
    """
    one, low_one, high_one = (frame[f"{name}_a"].astype(float) for name in (value, "low", "high"))
    two, low_two, high_two = (frame[f"{name}_b"].astype(float) for name in (value, "low", "high"))
    difference = two - one
    return pd.DataFrame(
        {
            "difference": difference,
            "low": difference - np.sqrt((two - low_two) ** 2 + (high_one - one) ** 2),
            "high": difference + np.sqrt((high_two - two) ** 2 + (one - low_one) ** 2),
        }
    )


def paired_differences(first: StoredRun, second: StoredRun, *, level: float) -> pd.DataFrame:
    """Difference second minus first of every method of both, item by item, where both answered the same items.

    Items are the same when the outcomes name the same ones and the captions, choices and questions of their split
    are equal in both runs. Interval of the two-level model of images and training seeds, as in COMPARISONS.
    Columns method, benchmark, measure, difference, low, high, items.
    """
    columns = ["method", "benchmark", "measure", "difference", "low", "high", "items"]
    one, two = _outcomes(first.folder), _outcomes(second.folder)
    if one is None or two is None:
        return pd.DataFrame(columns=columns)
    methods = sorted(set(one["method"]) & set(two["method"]))
    one, two = one[one["method"].isin(methods)], two[two["method"].isin(methods)]
    same = _same_benchmarks(one, two) & _same_splits(first, second, {*one["benchmark"], *two["benchmark"]})
    both = pd.concat(
        [
            frame[frame["benchmark"].isin(same)].assign(method=frame["method"] + side)
            for frame, side in ((one, "@a"), (two, "@b"))
        ]
    )
    frames = []
    for part in measured(both) if len(both) else ():
        found = two_level(part.micro, [part.difference(f"{method}@b", f"{method}@a") for method in methods])
        place = {"method": methods, "benchmark": part.benchmark, "measure": part.measure, "items": part.items}
        frames.append(pd.DataFrame({**place, **difference_columns(found, level)})[columns])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _outcomes(folder: Path) -> pd.DataFrame | None:
    found = [read_table(path, OUTCOMES) for path in sorted(folder.glob("evaluate/*/*/outcomes.parquet"))]
    return pd.concat(found, ignore_index=True) if found else None


def _same_benchmarks(one: pd.DataFrame, two: pd.DataFrame) -> set[str]:
    """Benchmarks with the same items, of the same images, in both."""
    sides = []
    for frame in (one, two):
        items = frame[["benchmark", "measure", "item_id", "image_id"]].drop_duplicates()
        groups = items.sort_values(["measure", "item_id"]).groupby("benchmark")
        sides.append({str(name): part.drop(columns="benchmark").to_numpy().tolist() for name, part in groups})
    return {name for name, items in sides[0].items() if sides[1].get(name) == items}


def _same_splits(first: StoredRun, second: StoredRun, benchmarks: set[str]) -> set[str]:
    """Benchmarks of splits whose texts are equal in both runs: equal names alone may stand for other drawn images."""
    texts = [_texts(run) for run in (first, second)]
    if any(found is None for found in texts):
        return set()
    one, two = (cast(dict[str, list[str]], found) for found in texts)
    splits = {split for split, lines in one.items() if lines == two.get(split)}
    return {name for name in benchmarks if name.split("/")[0] in splits}


def _texts(run: StoredRun) -> dict[str, list[str]] | None:
    """Captions, choices and questions of each split as sorted lines; None where the run lacks a table."""
    if not {"images", *_ITEMS} <= set(run.frames):
        return None
    split_of = run.frames["images"].set_index("image_id")["split"]
    lines: dict[str, list[str]] = {}
    for name in _ITEMS:
        frame = run.frames[name]
        if name == "captions":
            frame = frame[["caption_id", "image_id", "text"]].assign(split=frame["image_id"].map(split_of))
        for row in frame.itertuples(index=False):
            lines.setdefault(str(row.split), []).append(str(tuple(map(str, row))))
    return {split: sorted(found) for split, found in lines.items()}
