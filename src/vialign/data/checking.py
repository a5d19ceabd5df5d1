"""`vialign data check`: is every configured data set there, whole, and as many as its authors say?

Each source is read to its end, without the limits that a run may put on it, so that the counts can be held against the
published ones.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from vialign.config import BenchmarkConfig, Config, DataConfig, LanguageConfig
from vialign.data import regions
from vialign.data.base import DatasetTables, Problems
from vialign.data.folders import EMBEDDED
from vialign.data.published_files import SourceNote
from vialign.data.registry import BENCHMARKS, DATASETS, known, source_note
from vialign.errors import UserError, reading
from vialign.tables import DATA_CHECK

TREEBANKS = {
    "ptb": SourceNote(
        title="Penn Treebank, Wall Street Journal",
        licence="LDC user agreement (LDC99T42); the public sample of NLTK is for non-commercial use",
        obtain="buy LDC99T42, or take the sample: `nltk.download('treebank')`",
        files=("wsj/00 ... wsj/24 or combined/wsj_0001.mrg ...",),
    ),
    "ud": SourceNote(
        title="Universal Dependencies, English EWT",
        licence="CC BY-SA 4.0",
        obtain="https://github.com/UniversalDependencies/UD_English-EWT",
        files=("en_ewt-ud-train.conllu", "en_ewt-ud-dev.conllu"),
        expected={"train sentences": 12544},
    ),
}

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Of image files."""
MARKS = ("<!-- made by `vialign data notes`; `make schema` writes it anew -->", "<!-- end of notes -->")
"""Lines of docs/data.md between which the notes stand."""


@dataclass(frozen=True)
class SourceReport:
    """What was found of one configured source."""

    name: str
    key: str
    """Where the config names it."""
    note: SourceNote | None
    """None for an embedded world, which needs nothing."""
    missing: str | None
    """Why it could not be read; None when it was."""
    counts: Mapping[str, int]
    problems: pd.DataFrame | None
    """PROBLEMS of its files."""


def check_sources(config: Config) -> Iterator[SourceReport]:
    """Read every source that the config names, one after the other."""
    data, full = config.data, {"sizes": {}, "strict": False, "tune_list": None, "benchmarks": {}}
    if data.dataset in EMBEDDED:
        yield SourceReport(data.dataset, "data.dataset", None, None, {}, None)
    else:
        reader = import_module(DATASETS[known(data.dataset, DATASETS, "data.dataset")])
        whole: DataConfig = data.model_copy(update=full)
        yield _report(data.dataset, "data.folder", partial(reader.read, whole, config.seed))
    for name, source in data.benchmarks.items():
        module = import_module(BENCHMARKS[known(name, BENCHMARKS, "data.benchmarks")])
        all_of_it: BenchmarkConfig = source.model_copy(update={"items": None, "strict": False})
        found = _report(name, f"data.benchmarks.{name}.folder", partial(module.read, all_of_it, config.seed))
        yield found if found.missing is None else replace(found, counts=_annotated(module, name, Path(source.folder)))
    if config.language.treebank in TREEBANKS:
        yield _treebank(config.language)


def check_table(report: SourceReport) -> pd.DataFrame:
    """DATA_CHECK rows of one source: every count, held against the published one where there is one."""
    expected = report.note.expected if report.note is not None else {}
    rows = []
    for counted in dict.fromkeys([*expected, *report.counts]):
        count, published = report.counts.get(counted), expected.get(counted)
        if count is None:
            state = "missing"
        elif published is None:
            state = "counted"
        else:
            state = "as published" if count == published else "differs"
        rows.append((report.name, counted, count, published, state))
    if not rows and report.missing is not None:
        rows.append((report.name, "files", None, None, "missing"))
    frame = pd.DataFrame(rows, columns=list(DATA_CHECK.columns))
    return frame.astype({"count": "Int64", "published": "Int64"})


def check_lines(report: SourceReport, most: int = 5) -> list[str]:
    """One source in readable lines: its counts, its first problems, and, where it is missing, how to get it."""
    title = report.name if report.note is None else f"{report.name}: {report.note.title}"
    if report.note is None:
        return [title, "  drawn by the project, needs no files"]
    lines = [title]
    if report.missing is not None:
        lines += [f"  MISSING  {report.missing}", f"  get it:  {report.note.obtain}"]
        lines += [f"  files:   {', '.join(report.note.files)}", f"  then:    set {report.key} to its folder"]
    for row in check_table(report).to_dict("records"):
        count, published = ("" if pd.isna(row[name]) else f"{row[name]:,}" for name in ("count", "published"))
        said = f"published {published}" if published else ""
        lines.append(f"  {row['counted']:<28} {count or '-':>10}  {said:<20} {row['state']}".rstrip())
    if report.problems is not None and len(report.problems):
        lines.append(f"  {len(report.problems)} problems, the first of them:")
        for problem in report.problems.head(most).to_dict("records"):
            place = ", ".join(str(problem[name]) for name in ("file", "row") if problem[name])
            lines.append(f"    {place}: {problem['problem']}")
    return [*lines, f"  licence: {report.note.licence}"]


def notes_markdown() -> str:
    """Every data set, benchmark and treebank that is read, as docs/data.md lists them."""
    lines = []
    groups: dict[str, dict[str, SourceNote | None]] = {
        "Data sets": {name: source_note(name) for name in DATASETS},
        "Benchmarks": {name: source_note(name) for name in BENCHMARKS},
        "Treebanks": dict(TREEBANKS),
        "Region features": {"regions": regions.NOTE},
    }
    for group, notes in groups.items():
        lines += [f"### {group}", ""]
        for name, found in notes.items():
            if found is None:
                continue
            lines += [f"**`{name}`: {found.title}.** {found.obtain.rstrip('.')}.", ""]
            lines += [f"- Files: {'; '.join(f'`{file}`' for file in found.files)}"]
            if found.expected:
                counts = ", ".join(f"{count:,} {counted}" for counted, count in found.expected.items())
                lines += [f"- Published counts: {counts}"]
            lines += [f"- Licence: {found.licence}", ""]
    return "\n".join(lines)


def with_notes(page: str, name: str) -> str:
    """A page with the text between its two marks replaced by `notes_markdown`.

    Raises UserError when the marks are not there.
    """
    before, first, rest = page.partition(MARKS[0])
    _, last, after = rest.partition(MARKS[1])
    if not (first and last):
        raise UserError(f"{name}: has not the lines {MARKS[0]!r} and {MARKS[1]!r}; put them where the notes belong")
    return f"{before}{first}\n{notes_markdown()}{last}{after}"


def count_tables(tables: DatasetTables) -> dict[str, int]:
    """How many of everything: the names are those of `SourceNote.expected`."""
    images, captions = tables.images, tables.captions
    counts = {"images": len(images), "captions": len(captions), "objects": len(tables.objects)}
    counts |= {"relations": len(tables.relations), "questions": len(tables.questions)}
    folders = {(tables.image_folder / path).parent for path in images["path"]}
    counts["image files"] = sum(path.suffix.lower() in SUFFIXES for folder in folders for path in folder.iterdir())
    split_of_image = dict(zip(images["image_id"], images["split"], strict=True))
    by_split = Counter(split_of_image.values())
    by_caption = Counter(captions["image_id"].map(split_of_image).dropna())
    if len(by_split) > 1:
        # Calibration and diagnosis are cut from the published training images.
        own = ("train", "calibration", "diagnosis")
        for split in ("train", "validation", "test"):
            parts = own if split == "train" else (split,)
            counts[f"{split} images"] = sum(by_split[part] for part in parts)
            counts[f"{split} captions"] = sum(by_caption[part] for part in parts)
    counts |= {f"{name} ratings": count for name, count in sorted(Counter(tables.ratings["source"]).items())}
    counts |= {f"{name} items": count for name, count in sorted(Counter(tables.choices["benchmark"]).items())}
    return {counted: count for counted, count in counts.items() if count}


def _report(name: str, key: str, read: Callable[[], DatasetTables]) -> SourceReport:
    note = source_note(name)
    try:
        with reading(name, "get it again as docs/data.md says"):
            tables = read()
    except UserError as error:
        return SourceReport(name, key, note, str(error), {}, None)
    return SourceReport(name, key, note, None, count_tables(tables), tables.problems)


def _annotated(module: ModuleType, name: str, folder: Path) -> dict[str, int]:
    """Items that the annotation files of a benchmark hold, where they are there and only the images are missing."""
    if not folder.is_dir():
        return {}
    try:
        with reading(folder):
            items = module.read_items(folder, Problems(name, strict=False))
    except UserError:
        return {}
    if "benchmark" not in items:
        return {"questions": len(items)}
    return {f"{benchmark} items": count for benchmark, count in sorted(Counter(items["benchmark"]).items())}


def _treebank(config: LanguageConfig) -> SourceReport:
    from vialign.data.treebank import read_trees, split_files
    from vialign.data.universal_dependencies import conllu_files, read_conllu

    name, key = config.treebank, "language.folder"
    note = TREEBANKS[name]
    folder = Path(config.folder or "")
    if config.folder is None or not folder.is_dir():
        return SourceReport(name, key, note, f"{name}: {config.folder}: no such folder; set {key}", {}, None)
    try:
        if name == "ptb":
            train, held = (sum(len(read_trees(file)) for file in files) for files in split_files(folder))
        else:
            train, held = (sum(len(read_conllu(f)) for f in conllu_files(folder, part)) for part in ("train", "dev"))
    except UserError as error:
        return SourceReport(name, key, note, str(error), {}, None)
    return SourceReport(name, key, note, None, {"train sentences": train, "held-out sentences": held}, None)
