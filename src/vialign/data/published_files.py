"""Reading files as their authors publish them: every error names the file, the row and the field."""

import os
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from vialign.data.base import Problems, image_table, safe_join
from vialign.errors import UserError
from vialign.files.images import MISSING, Changes, Checked, check_images
from vialign.files.separated import other_separator, read_separated
from vialign.files.text import NotJson, parse_json
from vialign.files.text import read_json as read_json
from vialign.files.text import text_lines as text_lines
from vialign.progress import track
from vialign.tables.data import CAPTIONS


class Record(BaseModel):
    """One row of a published file: the fields that are read, with their types; other fields are ignored."""

    # With a longest length pydantic looks into every string, and refuses half characters that no file can hold.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, str_max_length=1_000_000)


AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True)
class SourceNote:
    """What a user must know to have a data set: `vialign data check` and docs/data.md say it."""

    title: str
    licence: str
    obtain: str
    """How to get it, in a sentence or two."""
    files: tuple[str, ...]
    """What lies in its folder; `a or b` where either will do."""
    expected: dict[str, int] = field(default_factory=dict)
    """Published counts by what is counted: `images`, `captions`, `test images`, `winoground items`, ..."""
    measures: str = ""
    """What a benchmark measures, in a sentence; empty for a data set."""
    chance: dict[str, float] = field(default_factory=dict)
    """What guessing reaches, by measure; where the items differ, by what they are: `accuracy (two captions)`."""
    blind: dict[str, float] = field(default_factory=dict)
    """What a classifier of words alone scores, by benchmark, that learned from captions of Flickr8k and negatives made
    of them by rule (benchmarks/blind_levels.py); of the benchmarks whose texts were at hand."""


def require_folder(name: str | None, dataset: str, key: str = "data.folder") -> Path:
    """The folder of a data set. Raises UserError when the config does not name it or it is not there."""
    if name is None:
        raise UserError(f"config: {key} is not set; {dataset} needs the folder it lies in (docs/data.md)")
    folder = Path(name)
    if not folder.is_dir():
        raise UserError(f"{dataset}: {folder}: no such folder; get {dataset} as docs/data.md says and set {key} to it")
    return folder


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these names (paths relative to the folder) that is a file."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def require_file(folder: Path, names: Sequence[str], dataset: str) -> Path:
    """The first of these names that is a file. Raises UserError naming all of them when none is."""
    path = find_file(folder, names)
    if path is None:
        raise UserError(f"{dataset}: {folder}: has no file {' or '.join(names)}; put it there as docs/data.md says")
    return path


def json_list(value: Any, path: Path, dataset: str, key: str | None = None) -> list[Any]:
    """The list that a JSON file holds, at the top or under `key`. Raises UserError when there is none."""
    found = value.get(key) if key is not None and isinstance(value, dict) else value if key is None else None
    if not isinstance(found, list):
        place = "it" if key is None else f"its field {key!r}"
        raise UserError(f"{dataset}: {path}: {place} is not a list; this is not the published file")
    return found


def csv_rows(path: Path, columns: Sequence[str], dataset: str) -> list[tuple[str, dict[Any, Any]]]:
    """Rows of a CSV file with a header, each with its label (`row 1` stands below the header).

    A field that a row lacks is missing from its dictionary; what a row has beyond the header stands under None, and
    `records` counts it as broken. Raises UserError when the file is no text, cannot be taken apart, or lacks one of
    these columns or has it twice.
    """
    header, found = read_separated(path, dataset=dataset)
    for name in columns:
        if header.count(name) > 1:
            raise UserError(f"{dataset}: {path}: has column {name} twice; name each column once")
        if name not in header:
            other = other_separator(header)
            said = f"is separated by {other}, not by commas" if other else "is not the published file"
            raise UserError(f"{dataset}: {path}: has no column {name}; this {said}")
    rows = []
    for row in found:
        told: dict[Any, Any] = dict(zip(header, row.fields, strict=False))
        if len(row.fields) > len(header):
            told[None] = row.fields[len(header) :]
        rows.append((f"row {row.number}", told))
    return rows


def json_lines(path: Path, dataset: str, problems: Problems) -> Iterator[tuple[str, Any]]:
    """Rows of a file of JSON lines; a line that is no JSON is a problem, an empty one is passed over."""
    for number, line in text_lines(path, dataset):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            problems.saw("items")
            problems.add("items", path.name, f"line {number}", f"{error}; the file may be cut off")
            continue
        yield f"line {number}", row


def json_object(value: Any, path: Path, dataset: str) -> dict[str, Any]:
    """The object that a JSON file holds at the top. Raises UserError when there is none."""
    if not isinstance(value, dict):
        raise UserError(f"{dataset}: {path}: it is not an object; this is not the published file")
    return value


def records(
    rows: Iterator[tuple[str, Any]] | Sequence[tuple[str, Any]],
    model: type[AnyRecord],
    kind: str,
    file: str,
    problems: Problems,
) -> Iterator[tuple[str, AnyRecord]]:
    """The rows that fit the model, each with its label; each other one is counted as a problem of `kind` (a plural).

    `rows` pairs a label such as `images[12]` or `line 7` with what the file holds there.
    """
    for label, row in rows:
        problems.saw(kind)
        if isinstance(row, dict) and None in row:
            wide, many = len(row) - 1, len(row) - 1 + len(row[None])
            problems.add(kind, file, label, f"has {many} fields, the header has {wide}; text with commas needs quotes")
            continue
        try:
            yield label, model.model_validate(row)
        except ValidationError as error:
            problems.add(kind, file, label, _first_problem(error))


def numbered(rows: list[Any], name: str) -> Iterator[tuple[str, Any]]:
    """Rows of a list with labels `name[0]`, `name[1]`, ..."""
    return ((f"{name}[{number}]", row) for number, row in enumerate(rows))


def image_sizes(folder: Path, names: Collection[str], problems: Problems) -> dict[str, tuple[int, int] | str]:
    """Width and height of each image `folder/name`, decoded to its end, or what is wrong with it; with a progress bar.

    A name that leads out of the folder counts as wrong too. What reading will change of the images is noted.
    """
    found: dict[str, tuple[int, int] | str] = {}
    files = {}
    for name in names:
        try:
            files[name] = safe_join(folder, name)
        except UserError:
            found[name] = f"the name {name!r} leads out of the folder"
    changes = Changes()
    checked = track(check_images(list(files.values())), f"decode {problems.dataset} images", total=len(files))
    for name, known in zip(files, checked, strict=True):
        if isinstance(known, Checked):
            found[name] = known.width, known.height
            changes.add(name, known.changes)
        else:
            found[name] = f"names image {name}, which is not in {folder}" if known == MISSING else f"{name} {known}"
    for changed, text in changes.lines(own=False):
        problems.note(str(folder), "", f"{len(changed)} of {len(files)} images {text}; the first: {changed[0]}")
    return found


def photograph_folders(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of the folders `names` that are in `folder`, and, after them, what lies one level deeper.

    Archives are often unpacked into a folder of their own: `images/VG_100K`, `flickr30k_images/flickr30k_images`.
    """
    there = [name for name in names if (folder / name).is_dir()]
    inside = [f"{name}/{part}" for name in there for part in subfolders(folder / name)]
    below = [f"{part}/{name}" for part in subfolders(folder) for name in names if (folder / part / name).is_dir()]
    return list(dict.fromkeys([*there, *inside, *below]))


def image_paths(folder: Path, names: Sequence[str], dataset: str) -> dict[str, str]:
    """File name to path relative to `folder`, of everything in its sub-folders `names` (`photograph_folders`).

    The first sub-folder wins where two hold the same name. Raises UserError when none of them is there.
    """
    there = photograph_folders(folder, names)
    if not there:
        raise UserError(
            f"{dataset}: {folder}: has no folder {' or '.join(names)} with the photographs; see docs/data.md"
        )
    return {file: f"{name}/{file}" for name in reversed(there) for file in os.listdir(folder / name)}


def require_photographs(
    named: Collection[str], present: Container[str], file: str, folder: Path, names: Sequence[str], dataset: str
) -> None:
    """Raises UserError when `file` names photographs and not one of them is among those that are present.

    `folder` and `names` say where was looked, as in `image_paths`.
    """
    if named and not any(name in present for name in named):
        there = ", ".join(photograph_folders(folder, names))
        raise UserError(
            f"{dataset}: {folder}: none of the {len(named)} photographs that {file} names is in its folders {there} "
            f"(looked for {next(iter(named))} and the others); put them there as docs/data.md says"
        )


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def read_photographs(
    splits: Mapping[str, str], paths: Mapping[str, str], folder: Path, problems: Problems
) -> pd.DataFrame:
    """IMAGES of the images of `splits` (image to split), whose files are `folder/paths[image]`.

    An image that cannot be decoded to its end is counted as a problem.
    """
    rows = []
    sizes = image_sizes(folder, [paths[name] for name in splits], problems)
    problems.saw("image files", len(splits))
    for name, split in splits.items():
        size = sizes[paths[name]]
        if isinstance(size, str):
            problems.add("image files", str(Path(paths[name]).parent), name, size)
        else:
            rows.append((name, split, paths[name], *size))
    return image_table(rows)


def read_caption_lines(
    lines: Iterable[tuple[int, str]],
    pattern: re.Pattern[str],
    form: str,
    file: str,
    present: Container[str],
    problems: Problems,
) -> pd.DataFrame:
    """CAPTIONS of the images that are present, from a file with one caption a line.

    `lines` are those of `text_lines`; `pattern` has the groups `image`, `number` and `text`; `form` says in words what
    a line must be. Every other line is counted as a problem.
    """
    rows: dict[str, tuple[str, str, str, None]] = {}
    for line, content in track(lines, "read captions"):
        problems.saw("captions")
        match = pattern.fullmatch(content)
        if match is None:
            problems.add("captions", f"captions file {file}", f"line {line}", f"is not {form}")
            continue
        image_id, text = match["image"], match["text"].strip()
        caption_id = f"{image_id}#{match['number']}"
        reason = None
        if image_id not in present:
            reason = f"names image {image_id}, which is not in images"
        elif not text:
            reason = f"caption {caption_id} is empty"
        elif caption_id in rows:
            reason = f"caption {caption_id} appears twice"
        if reason is None:
            rows[caption_id] = (caption_id, image_id, text, None)
        else:
            problems.add("captions", f"captions file {file}", f"line {line}", reason)
    return pd.DataFrame(list(rows.values()), columns=list(CAPTIONS.columns))


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"field {place}: {reason}" if place else reason
