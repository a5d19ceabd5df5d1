"""What every reader of a data set returns, the checks it must pass, and how broken rows are counted."""

import html
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

import pandas as pd

from vialign.errors import UserError
from vialign.files.artifacts import write_table
from vialign.names import PUBLISHED_SPLITS
from vialign.tables.data import CAPTIONS, CHOICES, IMAGES, OBJECTS, PROBLEMS, QUESTIONS, RATINGS, RELATIONS, SHARED
from vialign.tables.schema import Table

TABLES: dict[str, Table] = {
    "images": IMAGES,
    "captions": CAPTIONS,
    "objects": OBJECTS,
    "relations": RELATIONS,
    "choices": CHOICES,
    "questions": QUESTIONS,
    "ratings": RATINGS,
    "problems": PROBLEMS,
    "shared": SHARED,
}
"""Field of `DatasetTables` (and file name) to declared table."""

Check = Callable[[Any], str | None]
"""Takes a row as a named tuple and says what is wrong with it, or nothing."""

BOX_TOLERANCE = 1.0
"""Pixels by which a box may leave its image: annotations are rounded."""


@dataclass(frozen=True)
class DatasetTables:
    """A data set in the project's own tables; a data set without some labels leaves those tables empty."""

    images: pd.DataFrame
    captions: pd.DataFrame
    image_folder: Path
    """Folder that `images.path` is relative to."""
    objects: pd.DataFrame = field(default_factory=OBJECTS.empty)
    relations: pd.DataFrame = field(default_factory=RELATIONS.empty)
    choices: pd.DataFrame = field(default_factory=CHOICES.empty)
    questions: pd.DataFrame = field(default_factory=QUESTIONS.empty)
    ratings: pd.DataFrame = field(default_factory=RATINGS.empty)
    problems: pd.DataFrame = field(default_factory=PROBLEMS.empty)
    shared: pd.DataFrame = field(default_factory=SHARED.empty)


def image_table(
    rows: Sequence[tuple[str, str, str, int, int]], *, crops: Sequence[Sequence[float]] | None = None
) -> pd.DataFrame:
    """IMAGES from (image_id, split, path, width, height), with a crop (x, y, width, height) each where given.

    The registry fills in the source.
    """
    frame = pd.DataFrame(list(rows), columns=["image_id", "split", "path", "width", "height"])
    frame["source"] = "data"
    frame["crop"] = pd.Series([list(crop) for crop in crops or [()] * len(rows)], dtype=object)
    return frame


TOLERANCE = 0.05
"""Share of broken rows of a kind that is passed over, unless told otherwise."""

FEW = 2
"""Broken rows that tell nothing of a share: in a small folder one alone would be more than any tolerance."""
FEW_LABELS = 10
"""The same of boxes and what hangs on them: there are dozens to an image, drawn by hand, and one image full of slips is
no sign of a broken file."""
LABELS = ("objects", "relations", "attributes")
"""Kinds of rows that this is about."""

_SHOWN = 3
"""Reasons that a message shows."""
_NAMES = re.compile(r"\S*(?:[\d/\\]|\w\.\w)\S*|'[^']*'")
"""What differs between rows that are broken in the same way: numbers, files and what is quoted."""


def too_many(broken: int, total: int, tolerance: float, few: int = FEW) -> bool:
    """Whether more rows are broken than may be passed over; a `few` always may, unless the tolerance is 0."""
    return broken > (max(few, tolerance * total) if tolerance > 0 else 0)


def frequent_reasons(reasons: Sequence[str]) -> str:
    """The most frequent kinds of reasons, each by its first example and with how many there are."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(_NAMES.sub("", reason), []).append(reason)
    ordered = sorted(groups.values(), key=len, reverse=True)
    said = [f"{len(group)} like this: {group[0]}" for group in ordered[:_SHOWN]]
    return "; ".join(said) + (f"; and {len(ordered) - _SHOWN} other kinds" if len(ordered) > _SHOWN else "")


class Problems:
    """Collects broken rows: each is skipped and counted, or stops the run when `strict`, or too many of them do."""

    def __init__(self, dataset: str, strict: bool, key: str = "data.strict", tolerance: float = TOLERANCE) -> None:
        self.dataset = dataset
        self.strict = strict
        self.key = key
        """Where the config says whether to be strict; `tolerance` stands beside it."""
        self.tolerance = tolerance
        """Share of broken rows of a kind that is passed over."""
        self._rows: list[tuple[str, str, str]] = []
        self._kinds: list[str] = []
        self._seen: Counter[str] = Counter()

    def saw(self, kind: str, rows: int = 1) -> None:
        """Count rows of `kind` that are looked at, broken or not: what the share of broken ones is of."""
        self._seen[kind] += rows

    def check(self) -> None:
        """Raises UserError with counts and reasons when more rows of a kind are broken than `tolerance` allows."""
        for kind, broken in Counter(filter(None, self._kinds)).items():
            total = max(self._seen[kind], broken)
            if too_many(broken, total, self.tolerance, FEW_LABELS if kind in LABELS else FEW):
                lines = zip(self._kinds, self._rows, strict=True)
                reasons = [_place(file, row, reason) for found, (file, row, reason) in lines if found == kind]
                key = self.key.removesuffix("strict") + "tolerance"
                raise UserError(
                    f"{self.dataset}: {broken} of {total} {kind} are broken, more than {key} ({self.tolerance:g}): "
                    f"{frequent_reasons(reasons)}; mend the files, or raise {key} to go on with the rest"
                )

    def report(self) -> None:
        """Sum everything up on stderr; then as `check`."""
        self.check()
        for line in self.summary():
            print(f"vialign: {line}", file=sys.stderr)

    def add(self, kind: str, file: str, row: str, problem: str) -> None:
        """Count one broken row of `kind` (a plural, such as `captions`), which the caller then leaves out.

        Raises UserError when strict.
        """
        if self.strict:
            raise UserError(f"{self._line(file, row, problem)}; mend the row, or set {self.key}: false to skip it")
        self._rows.append((file, row, problem))
        self._kinds.append(kind)

    def note(self, file: str, row: str, text: str) -> None:
        """Record something that is not broken but that the reader of the report must know; never stops the run."""
        self._rows.append((file, row, text))
        self._kinds.append("")

    def frame(self) -> pd.DataFrame:
        """One row a problem, columns as `PROBLEMS`."""
        return pd.DataFrame(self._rows, columns=list(PROBLEMS.columns)).astype("str")

    def summary(self) -> list[str]:
        """Lines for the log: the first problem of each kind in full, and how many rows of it were skipped."""
        counts = Counter(self._kinds)
        lines: list[str] = []
        shown: set[str] = set()
        for kind, (file, row, problem) in zip(self._kinds, self._rows, strict=True):
            if not kind:
                lines.append(self._line(file, row, problem))
            elif kind not in shown:
                shown.add(kind)
                lines.append(self._line(file, row, problem))
                lines.append(f"{counts[kind]} {kind} skipped; set {self.key}: true to stop here instead.")
        return lines

    def _line(self, file: str, row: str, problem: str) -> str:
        return f"{self.dataset}: {_place(file, row, problem)}"


def _place(file: str, row: str, problem: str) -> str:
    return ": ".join(filter(None, (", ".join(filter(None, (file, row))), problem)))


def has_words(text: str) -> bool:
    """Whether a tokenizer finds anything in a text: open_clip's unescape HTML (`&nbsp;`) before they look."""
    plain = html.unescape(html.unescape(text))
    return any(category(letter)[0] not in "ZC" for letter in plain)


def safe_join(folder: str | Path, name: str) -> Path:
    """`folder/name`, where `name` was read from data and must stay inside the folder.

    Links in the folder are followed: the user named the folder, and a hub's cache or a cluster's disk is made of them.
    A `..` takes back the part of the name before it, wherever that leads. Raises UserError when the name is empty,
    absolute or leads out of the folder by `..`.
    """
    plain = os.path.normpath(name) if name else ""
    if os.path.isabs(plain) and Path(plain).is_relative_to(os.path.abspath(folder)):
        raise UserError(f"{folder}: the name {name!r} begins at the root; write it relative to the folder")
    if not name or "\0" in name or os.path.isabs(plain) or plain.split(os.sep, 1)[0] == os.pardir:
        raise UserError(f"{folder}: the name {name!r} leads out of the folder; remove it from the data")
    return Path(folder) / plain


def found_name(folder: Path, name: str) -> str:
    """The name under which a file is in the folder: itself, or its other Unicode form.

    macOS takes names apart (`u` and two dots), and tables have them in one; they look the same. Where neither is
    there, the name as it is.
    """
    forms = (name, *(normalize(form, name) for form in ("NFC", "NFD"))) if not name.isascii() else (name,)
    return next((form for form in forms if is_there(folder / form)), name)


def near_name(folder: Path, name: str) -> str | None:
    """A file of the folder that may be meant by a name that is not there: the same but for capitals, the ending, zeros
    in front, or the strokes of Windows. None where there is none.
    """
    wanted = name.replace("\\", "/")
    if wanted != name and is_there(folder / wanted):
        return wanted
    if wanted != name and is_there(folder / wanted.rpartition("/")[2]):
        return wanted.rpartition("/")[2]
    place = Path(wanted).parent
    try:
        there = sorted(os.listdir(folder / place))
    except (OSError, ValueError):
        return None
    for key in (str.casefold, _plain_stem):
        found = next((file for file in there if key(file) == key(Path(wanted).name)), None)
        if found is not None:
            return (place / found).as_posix()
    return None


def _plain_stem(name: str) -> str:
    return Path(name).stem.casefold().strip().lstrip("0")


def is_there(path: Path) -> bool:
    """Whether a path is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_references(
    tables: DatasetTables, dataset: str, strict: bool, tolerance: float = TOLERANCE
) -> tuple[DatasetTables, list[str]]:
    """The tables without rows that point to nothing, and the lines for the log; the reasons join `problems`.

    Checked in this order, so that what hangs on a removed row goes too: captions, objects (their image, their box),
    relations (both objects, in the same image), choices and questions (their images, of the same split), ratings.
    Raises UserError when strict and a row is broken, and when more of a table are than `tolerance` allows.
    """
    problems = Problems(dataset, strict, tolerance=tolerance)
    images = tables.images
    split = dict(zip(images["image_id"], images["split"], strict=True))
    sides = zip(images["width"].astype(int), images["height"].astype(int), strict=True)
    size: dict[str, tuple[int, int]] = dict(zip(images["image_id"], sides, strict=True))

    def caption(row: Any) -> str | None:
        if row.image_id not in split:
            return f"names image {row.image_id}, which is not in images"
        return None if has_words(row.text) else f"its text {row.text[:40]!r} has no words"

    captions = _filter(tables.captions, "captions", "caption_id", caption, problems)

    def box(row: Any) -> str | None:
        if row.image_id not in size:
            return f"names image {row.image_id}, which is not in images"
        width, height = size[row.image_id]
        inside = row.x + row.width <= width + BOX_TOLERANCE and row.y + row.height <= height + BOX_TOLERANCE
        inside = inside and row.x >= -BOX_TOLERANCE and row.y >= -BOX_TOLERANCE and row.width > 0 and row.height > 0
        return None if inside else f"its box is empty or leaves the {width}x{height} image {row.image_id}"

    objects = _filter(tables.objects, "objects", "object_id", box, problems)
    image_of_object = dict(zip(objects["object_id"], objects["image_id"], strict=True))

    def relation(row: Any) -> str | None:
        for name in (row.subject_id, row.object_id):
            if image_of_object.get(name) != row.image_id:
                return f"names object {name}, which is not in image {row.image_id}"
        return None

    relations = _filter(tables.relations, "relations", "relation_id", relation, problems)

    def choice(row: Any) -> str | None:
        for name in row.images:
            if split.get(name) != row.split:
                return f"names image {name}, which is not in split {row.split}"
        if not all(map(has_words, row.texts)):
            return "has a candidate text without words"
        if len(row.images) + len(row.texts) < 3 and pd.isna(row.right):
            return "has fewer than two candidate texts"
        return None

    def question(row: Any) -> str | None:
        if split.get(row.image_id) != row.split:
            return f"names image {row.image_id}, which is not in split {row.split}"
        if not all(map(has_words, row.statements)):
            return "has a statement without words"
        return None if len(row.candidates) == len(row.statements) else "has not one statement a candidate"

    caption_ids = set(captions["caption_id"])

    def rating(row: Any) -> str | None:
        if row.image_id not in split:
            return f"rates image {row.image_id}, which is not in images"
        return None if row.caption_id in caption_ids else f"rates caption {row.caption_id}, which is not in captions"

    checked = replace(
        tables,
        captions=captions,
        objects=objects,
        relations=relations,
        choices=_filter(tables.choices, "choices", "item_id", choice, problems),
        questions=_filter(tables.questions, "questions", "question_id", question, problems),
        ratings=_filter(tables.ratings, "ratings", "image_id", rating, problems),
        problems=pd.concat([tables.problems, problems.frame()], ignore_index=True),
    )
    problems.check()
    return checked, problems.summary()


NEEDED_SPLITS = PUBLISHED_SPLITS
"""Splits that stages read whatever the data set is."""


def require_images(tables: DatasetTables, dataset: str) -> None:
    """Raises UserError with the reasons when a data set or benchmark has no image."""
    if tables.images.empty:
        raise UserError(f"{dataset}: no image is left{_why(tables)}; mend the files or the folder")


def _why(tables: DatasetTables) -> str:
    reasons = [_place(*row) for row in tables.problems.itertuples(index=False, name=None)]
    said = f"; problems of the files: {frequent_reasons(reasons)}" if reasons else "; no row of the files is broken"
    out = tables.shared.loc[tables.shared["source"] == "data", "kept_out"].sum()
    return (f"; {out} images are photographs of a benchmark" if out else "") + said


def require_splits(tables: DatasetTables, dataset: str) -> None:
    """Raises UserError when a needed split has no image, or no caption where the data set has any, and says why."""
    why = _why(tables)
    told = set(tables.captions["image_id"])
    for split in NEEDED_SPLITS:
        names = tables.images.loc[tables.images["split"] == split, "image_id"]
        if names.empty:
            raise UserError(f"{dataset}: split {split} has no image{why}; mend the files, data.folder or data.sizes")
        if told and told.isdisjoint(names):
            raise UserError(
                f"{dataset}: split {split} has {len(names)} images but no caption{why}; mend the files or data.folder"
            )


def object_label(name: str, attributes: Sequence[str]) -> str:
    """`red circle`: the object's name with its first, most telling attribute, where it has one."""
    return f"{attributes[0]} {name}" if len(attributes) else name


def object_phrase(name: str, attributes: Sequence[str]) -> str:
    """`a red circle`, as a caption would say it."""
    label = object_label(name, attributes)
    return f"{'an' if label[0].lower() in 'aeiou' else 'a'} {label}"


def relative_to(tables: DatasetTables, folder: Path, source: str) -> DatasetTables:
    """The tables with the image paths relative to `folder` and the source filled in."""
    # By name, not by where links lead.
    place = Path(os.path.abspath(tables.image_folder)).relative_to(os.path.abspath(folder))
    paths = [str(place / path) for path in tables.images["path"]]
    return replace(tables, images=tables.images.assign(path=paths, source=source), image_folder=folder)


def write_dataset(tables: DatasetTables, folder: str | Path, provenance: Mapping[str, str]) -> None:
    """Write every table as `folder/<table>.parquet`.

    Raises UserError when the data set repeats a key or holds a value outside its declared range.
    """
    for name, table in TABLES.items():
        try:
            write_table(getattr(tables, name), table, Path(folder) / f"{name}.parquet", provenance)
        except ValueError as error:
            raise UserError(f"data: {error}; mend the data set") from None


def _filter(frame: pd.DataFrame, kind: str, key: str, check: Check, problems: Problems) -> pd.DataFrame:
    keep = []
    problems.saw(kind, len(frame))
    for row in frame.itertuples(index=False):
        reason = check(row)
        keep.append(reason is None)
        if reason is not None:
            problems.add(kind, kind, str(getattr(row, key)), f"{reason}; skipped")
    return frame[pd.Series(keep, index=frame.index, dtype=bool)].reset_index(drop=True)
