"""Losses and results of a run for those who follow their experiments in trackio, wandb or mlflow; off by default."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from vialign.config.experiment import Config, digest
from vialign.errors import UserError, reading

PROJECT = "vialign"
_LOSSES = ("loss", "contrastive", "negative", "regularisation")


def track_run(config: Config, results: Path) -> None:
    """Write the losses of every training, and every result, to the tracker that `report.tracking` names.

    One tracked run an experiment, named after it. Raises UserError where the library is not installed.
    """
    kind = config.report.tracking
    if kind == "none":
        return
    require_tracker(kind)
    library = import_module(kind)
    settings = {"config_digest": digest(config), "seed": config.seed, "methods": ",".join(config.training.methods)}
    steps = [*_losses(results), (None, _summary(results))]
    if kind == "mlflow":
        _to_mlflow(library, config.name, settings, steps)
    else:
        _to_runs(library, config.name, settings, steps)


def require_tracker(kind: str) -> None:
    """Raises UserError where the library of a tracker is not installed: a run asks before it plans anything."""
    if kind != "none" and find_spec(kind) is None:
        raise UserError(
            f"config: report.tracking: {kind} is not installed; add it with `pip install {kind}`, or set it to none"
        )


Step = tuple[int | None, dict[str, float]]
"""A step of a training, none for what holds of the whole run, and its numbers."""


def _to_runs(library: Any, name: str, settings: Mapping[str, object], steps: list[Step]) -> None:
    """Through the calls that trackio and wandb share."""
    library.init(project=PROJECT, name=name, config=dict(settings))
    last = max((step for step, _ in steps if step is not None), default=-1)
    try:
        for step, numbers in steps:
            if numbers:
                library.log(numbers, step=last + 1 if step is None else step)
    finally:
        library.finish()


def _to_mlflow(library: Any, name: str, settings: Mapping[str, object], steps: list[Step]) -> None:
    library.set_experiment(PROJECT)
    with library.start_run(run_name=name):
        library.log_params(dict(settings))
        for step, numbers in steps:
            if numbers:
                library.log_metrics(numbers, step=step)


def _losses(results: Path) -> Iterator[Step]:
    """Every loss of every training, all trainings of a step together."""
    frames = []
    for path in sorted(results.glob("train/*/*/log.parquet")):
        method, seed = path.parts[-3:-1]
        frames.append(_read(path).assign(run=f"{method}/{seed}"))
    if not frames:
        return
    for step, part in pd.concat(frames, ignore_index=True).groupby("step", sort=True):
        numbers = {
            f"{row['run']}/{name}": float(row[name])
            for row in part.to_dict("records")
            for name in _LOSSES
            if name in row and pd.notna(row[name])
        }
        yield int(str(step)), numbers


def _summary(results: Path) -> dict[str, float]:
    """Every result, in the micro convention."""
    path = results / "compare/results.parquet"
    if not path.is_file():
        return {}
    table = _read(path)
    micro = table[table["convention"] == "micro"].to_dict("records")
    return {f"{row['method']}/{row['benchmark']}/{row['measure']}": float(row["value"]) for row in micro}


def _read(path: Path) -> pd.DataFrame:
    """A table of the run, by whatever columns it has: their declaration would make the report hang on it."""
    with reading(path, "delete it and run again"):
        return pd.read_parquet(path)
