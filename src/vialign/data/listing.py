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

LEARNED = "learned from words of Flickr8k's captions and of negatives made of them by rule"
"""How the shares in the notes came about."""


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
        # Of its own split alone: those of `test` are items of the run's data set in the same form.
        own = {key: value for key, value in measured.items() if key.partition("/")[0] == name}
        found.append(Listed(name, reader.NOTE, folder, here, own))
    return found


def blind_by_design(note: SourceNote) -> str:
    """What text alone must score by the form of the items, where that follows from it; else nothing."""
    if "match" in note.chance:
        return "text alone wins nothing: both captions are true of one of the images"
    if "image_choice" in note.chance:
        return "text alone can but guess: the caption is the same for every image"
    if "pointing" in note.chance:
        return "no text is chosen: a phrase points into its own image"
    return ""


def _percents(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in shares.items())


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
    blind = _percents(listed.blind) or (f"{_percents(note.blind)}; {LEARNED}" if note.blind else blind_by_design(note))
    rows = {
        "measures": note.measures,
        "chance": chance,
        "counts": counts or "its authors give none for what is read",
        "here": here,
        "blind": blind or "not measured; a run whose data.benchmarks names it writes evaluate/blind.parquet",
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
        "blind_of_words": note.blind,
        "blind_by_design": blind_by_design(note),
        "licence": note.licence,
        "obtain": note.obtain,
        "files": list(note.files),
    }
