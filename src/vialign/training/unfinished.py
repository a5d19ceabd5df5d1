"""A training under way, written beside its outputs, from which a killed one goes on as if nothing had happened."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from vialign.errors import UserError
from vialign.files.artifacts import read_provenance, read_tensors, write_tensors
from vialign.methods.checkpoint import (
    Checkpoint,
    Trail,
    checkpoint_tensors,
    read_checkpoint,
    trail_from,
    trail_tensors,
)
from vialign.tables.training import MONITOR, SIGNAL_MONITOR, TRAINING_LOG

_TABLES = {"log": TRAINING_LOG, "monitor": MONITOR, "signal_monitor": SIGNAL_MONITOR}


@dataclass(frozen=True)
class TrainingResult:
    """What a stretch of training leaves."""

    checkpoint: Checkpoint
    log: pd.DataFrame
    """TRAINING_LOG of the steps of this stretch."""
    monitor: pd.DataFrame
    """MONITOR of the checks of this stretch; a stretch from the beginning has step 0 too."""
    signal_monitor: pd.DataFrame
    """SIGNAL_MONITOR of its light checks; none for a method without the signal."""
    trail: Trail
    """The weights at the light checks."""
    outcomes: pd.DataFrame | None = None
    """OUTCOMES of the check of all of selection after the last step; None where there was none, or before a stop."""


class Unfinished:
    """One file, which holds a stretch of training after some step of it.

    It counts only while `provenance` (config, code, seed, inputs) is what it was: after a change the stretch starts
    anew. A file that cannot be read counts as none, since it only saves time.
    """

    def __init__(self, path: str | Path, provenance: Mapping[str, str], seconds: float) -> None:
        self.path, self.seconds = Path(path), seconds
        self.provenance = dict(provenance)
        self._written = time.monotonic()

    def read(self) -> TrainingResult | None:
        """What the interrupted stretch had done; None when there is nothing to go on from."""
        if not self.path.exists():
            return None
        try:
            found = read_provenance(self.path)
            rows = json.loads(found.pop("rows", "{}"))
            if found != self.provenance:
                return None
            tensors = read_tensors(self.path)
            frames = {name: pd.DataFrame(rows[name], columns=list(table.columns)) for name, table in _TABLES.items()}
            return TrainingResult(
                read_checkpoint(_part(tensors, "checkpoint"), self.path),
                **frames,
                trail=trail_from(_part(tensors, "trail"), self.path),
            )
        except (UserError, KeyError, ValueError):
            return None

    def offer(self, make: Callable[[], TrainingResult]) -> None:
        """Write what `make` gives when it is time to."""
        if time.monotonic() - self._written >= self.seconds:
            self.write(make())
            self._written = time.monotonic()

    def write(self, result: TrainingResult) -> None:
        """Write a stretch as far as it is."""
        tensors = {f"checkpoint.{name}": tensor for name, tensor in checkpoint_tensors(result.checkpoint).items()}
        tensors |= {f"trail.{name}": tensor for name, tensor in trail_tensors(result.trail).items()}
        rows = {name: rows_of(getattr(result, name)) for name in _TABLES}
        write_tensors(tensors, self.path, {**self.provenance, "rows": json.dumps(rows)})

    def remove(self) -> None:
        """The stretch is finished and its outputs are written."""
        self.path.unlink(missing_ok=True)


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
