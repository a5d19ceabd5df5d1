"""What a run left behind, read once: the declared tables that exist, and what made every artifact.

Each frame carries two extra columns, `FILE` (path relative to the results folder) and `ROW` (position in that file),
so that any number shown can say which cell of which Parquet file it is, however the frame was filtered or sorted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign.catalogue import FULL, family
from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.files.artifacts import Provenance, read_provenance, read_table
from vialign.results import NAMED, RESULTS_OF_A_RUN
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.schema import Table
from vialign.tables.training import SEARCH

FILE = "_file"
ROW = "_row"

GATES = ("signal", "budget", "early")

PLACES: dict[str, tuple[str, Table]] = {
    result.name: (result.path, result.table)
    for result in RESULTS_OF_A_RUN
    if result.single and not result.path.startswith("compare_all/")
}
"""Tables that are one file each."""

_OF_A_TRAINING = "train/{method}/{seed}/"
TRAINING: dict[str, tuple[str, Table]] = {
    result.name: (result.path.removeprefix(_OF_A_TRAINING), result.table)
    for result in RESULTS_OF_A_RUN
    if result.path.startswith(_OF_A_TRAINING) and result.table is not OUTCOMES
}
"""Tables that are one file a method and seed, under `train/<method>/<seed>/`."""

SEARCHES = NAMED["search"].path.format(method="*")
"""The searches for a learning rate, one table a method."""

_TRAINED = r"train/.*/(averages|final|log|monitor|signal_monitor|trail)\."
_AFTER_EARLY = rf"ablate/|attribute/|uses/|compare/|compare_all/|analyse/(?!theory)|evaluate/(?!agreement)|{_TRAINED}"
_AFTER_BUDGET = rf"search/|train/|gates/early|{_AFTER_EARLY}"
_BEHIND = {
    "signal": re.compile(rf"budget/|gates/budget|{_AFTER_BUDGET}"),
    "budget": re.compile(_AFTER_BUDGET),
    "early": re.compile(_AFTER_EARLY),
}
"""What lies behind a gate: an older run may have left it, but the run that stopped did not make it."""


@dataclass(frozen=True)
class Artifact:
    """One file that the pipeline wrote, and what its own metadata says made it."""

    path: str
    provenance: Provenance


@dataclass(frozen=True)
class Evidence:
    """Everything the report may show."""

    results: Path
    frames: dict[str, pd.DataFrame]
    artifacts: tuple[Artifact, ...]
    stopped: str | None
    """The first gate whose verdict is `stop`; what lies behind it was left out even where an older run wrote it."""
    places: Mapping[str, tuple[str, Table]]
    """Where each table lies that is one file."""

    def get(self, name: str) -> pd.DataFrame | None:
        """The frame of one table, or None where the run has none (or an empty one)."""
        frame = self.frames.get(name)
        return None if frame is None or frame.empty else frame

    def path(self, name: str) -> str:
        """Where the table lies, relative to the results folder."""
        if name in self.places:
            return self.places[name][0]
        if name == "search":
            return SEARCHES
        return f"train/<method>/<seed>/{TRAINING[name][0]}"

    def provenance(self, path: str) -> Provenance:
        """What made one artifact; empty where the run has none."""
        return next((artifact.provenance for artifact in self.artifacts if artifact.path == path), {})

    def contract(self) -> Provenance:
        """The backbone's contract as the first artifact made with it carries it; empty where there is none."""
        for artifact in self.artifacts:
            if "backbone_architecture" in artifact.provenance:
                fields = {name: value for name, value in artifact.provenance.items() if name.startswith("backbone_")}
                return {name.removeprefix("backbone_"): fields[name] for name in sorted(fields)}
        return {}


def read_evidence(results: Path, config: Config, places: Mapping[str, tuple[str, Table]] = PLACES) -> Evidence:
    """Read what exists under `results`, tables of one file from their `places`.

    Raises UserError when the folder is missing or one of its tables is broken.
    """
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; run the pipeline first")
    frames = {name: _read(results, path, table) for name, (path, table) in places.items() if (results / path).exists()}
    stopped = next((gate for gate in GATES if _action(frames.get(f"gate_{gate}")) == "stop"), None)
    if stopped:
        frames = {name: frame for name, frame in frames.items() if not _behind(places[name][0], stopped)}
    # A run that stops at the early gate has trained those two alone.
    methods = {FULL, "lora"} if stopped == "early" else {*config.training.methods, *_chosen(frames.get("ablation"))}
    for name, (file, table) in TRAINING.items():
        parts = []
        for path in sorted(results.glob(f"train/*/*/{file}")):
            method, seed = path.parts[-3:-1]
            relative = path.relative_to(results).as_posix()
            if method not in methods or not seed.isdigit() or int(seed) not in config.training.seeds:
                continue
            if not (stopped and _behind(relative, stopped)):
                parts.append(_read(results, relative, table).assign(method=method, seed=int(seed)))
        if parts:
            frames[name] = pd.concat(parts, ignore_index=True)
    families = {family(method) for method in methods}
    found = [path for path in sorted(results.glob(SEARCHES)) if path.stem in families]
    if found and len(config.training.search.factors) > 1 and not (stopped and _behind(SEARCHES, stopped)):
        searches = [_read(results, path.relative_to(results).as_posix(), SEARCH) for path in found]
        frames["search"] = pd.concat(searches, ignore_index=True)
    return Evidence(results, frames, _artifacts(results, stopped), stopped, places)


def _read(results: Path, path: str, table: Table) -> pd.DataFrame:
    frame = read_table(results / path, table)
    frame[FILE] = path
    frame[ROW] = range(len(frame))
    return frame


def _action(verdict: pd.DataFrame | None) -> str | None:
    return None if verdict is None or verdict.empty else str(verdict["action"].iloc[0])


def _chosen(ablation: pd.DataFrame | None) -> list[str]:
    return [] if ablation is None else ablation.loc[ablation["chosen"], "method"].tolist()


def _behind(path: str, gate: str) -> bool:
    return _BEHIND[gate].match(path) is not None


def _artifacts(results: Path, stopped: str | None) -> tuple[Artifact, ...]:
    found = []
    for path in sorted([*results.rglob("*.parquet"), *results.rglob("*.safetensors")]):
        relative = path.relative_to(results).as_posix()
        hidden = any(part.startswith(".") for part in path.relative_to(results).parts)
        shard = relative.startswith("features/") and relative.count("/") > 1 and path.name != "manifest.parquet"
        if not (hidden or shard or (stopped and _behind(relative, stopped))):
            found.append(Artifact(relative, read_provenance(path)))
    return tuple(found)
