"""`vialign benchmarks`: every benchmark that can be read, what it measures, and what of it is here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from vialign.data.checking import annotated
from vialign.data.published_files import SourceNote
from vialign.names import BENCHMARKS


@dataclass(frozen=True)
class Listed:
    """One benchmark of the registry."""

    name: str
    note: SourceNote
    folder: Path | None
    """Where it was looked for; None where nobody said."""
    here: Mapping[str, int] = field(default_factory=dict)
    """What its annotation files hold there, by what is counted; empty where they are not there."""
    blind: Mapping[str, float] = field(default_factory=dict)
    """What a classifier that sees no image scores, by benchmark, where a run has measured it."""


def list_benchmarks(
    folders: Mapping[str, Path], data: Path | None = None, blind: pd.DataFrame | None = None
) -> list[Listed]:
    """Every benchmark of the registry, in its order.

    Looked for in `folders` (by name), else in `data/<name>`; `blind` are rows of `BLIND` of a run.
    """
    found = []
    measured = {} if blind is None else dict(zip(blind["benchmark"], blind["accuracy"].astype(float), strict=True))
    for name, module in BENCHMARKS.items():
        reader = import_module(module)
        folder = folders.get(name, data / name if data is not None else None)
        here = {} if folder is None else annotated(reader, name, folder)
        own = {key: value for key, value in measured.items() if owner(key.rpartition("/")[2]) == name}
        found.append(Listed(name, reader.NOTE, folder, here, own))
    return found


def owner(benchmark: str) -> str | None:
    """Which benchmark of the registry a name of OUTCOMES belongs to: `sugarcrepe_pp_swap_obj` to `sugarcrepe_pp`."""
    names = [name for name in BENCHMARKS if benchmark == name or benchmark.startswith(f"{name}_")]
    return max(names, key=len, default=None)


def blind_by_design(note: SourceNote) -> str:
    """What text alone must score by the form of the items, where that follows from it; else nothing."""
    if "match" in note.chance:
        return "text alone wins nothing: both captions are true of one of the images"
    if "image_choice" in note.chance:
        return "text alone can but guess: the caption is the same for every image"
    return ""


def listing_lines(listed: Listed) -> list[str]:
    """One benchmark in readable lines."""
    note = listed.note
    chance = ", ".join(
        f"{name} {'differs by item' if isnan(value) else f'{100 * value:.1f} %'}" for name, value in note.chance.items()
    )
    counts = ", ".join(f"{count:,} {counted}" for counted, count in note.expected.items())
    if listed.here:
        here = ", ".join(f"{count:,} {counted}" for counted, count in listed.here.items()) + f" in {listed.folder}"
    else:
        here = "not asked; give --data or a configuration" if listed.folder is None else f"nothing in {listed.folder}"
    blind = [f"{name} {100 * value:.1f} %" for name, value in listed.blind.items()]
    rows = {
        "measures": note.measures,
        "chance": chance,
        "counts": counts or "its authors give none for what is read",
        "here": here,
        "blind": ", ".join(blind) or blind_by_design(note) or "not measured; a run writes evaluate/blind.parquet",
        "licence": note.licence,
        "get it": note.obtain,
    }
    return [f"{listed.name}: {note.title}", *(f"  {key:<9} {value}" for key, value in rows.items() if value)]


def listing_record(listed: Listed) -> dict[str, Any]:
    """One benchmark as it stands in JSON; a chance level that differs by item is null."""
    note = listed.note
    return {
        "name": listed.name,
        "title": note.title,
        "measures": note.measures,
        "chance": {name: None if isnan(value) else value for name, value in note.chance.items()},
        "counts": note.expected,
        "here": dict(listed.here),
        "folder": None if listed.folder is None else str(listed.folder),
        "blind": dict(listed.blind),
        "blind_by_design": blind_by_design(note),
        "licence": note.licence,
        "obtain": note.obtain,
        "files": list(note.files),
    }
