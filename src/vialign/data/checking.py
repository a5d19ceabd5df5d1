"""`vialign data check`: is every configured data set there, whole, and as many as its authors say?

Each source is read as a run reads it: by the same readers, in the same sizes, with every image decoded to its end. What
passes here, the run reads. Where the config limits nothing, the counts are held against the published ones.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd

from vialign.config.data import DataConfig
from vialign.config.experiment import Config
from vialign.data.base import TABLES, DatasetTables, Problems
from vialign.data.folders import EMBEDDED
from vialign.data.published_files import SourceNote
from vialign.data.regions import reading as regions
from vialign.data.registry import (
    BENCHMARKS,
    DATASETS,
    apart,
    checked,
    known,
    read_benchmark,
    read_own,
    source_note,
    whole,
)
from vialign.data.sources import Source, read_sources, together
from vialign.errors import UserError, one_line, reading
from vialign.tables.data import DATA_CHECK, IMAGES

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

PUBLISHED_PARTS = {
    "train": ("train", "calibration", "diagnosis", "confirmation"),
    "validation": ("selection", "gate"),
    "test": ("test",),
}
"""Published split to the project's splits that are cut from it."""
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
    """None for an embedded world, which needs nothing, and for all sources together."""
    missing: str | None
    """Why it could not be read; None when it was."""
    counts: Mapping[str, int]
    problems: pd.DataFrame | None
    """PROBLEMS of its files."""
    limited: bool = False
    """Whether the config takes a part of it only, so that its counts say nothing of the published ones."""
    remark: str = ""
    """What a run will lack with it."""


def check_sources(config: Config) -> Iterator[SourceReport]:
    """Read every source that the config names as a run does, one after the other."""
    data, seen = config.data, Seen()
    lacks = partial(probe_lacks, folds=config.signal.folds)
    if data.dataset in EMBEDDED:
        yield SourceReport(data.dataset, "data.dataset", None, None, {}, None)
    else:
        limited = data.tune_list is not None or not data.sizes.keys().isdisjoint(("train", "selection", "gate", "test"))
        read = partial(_own, data, config.seed, seen)
        own = _report(data.dataset, "data.folder", read, limited, lacks if data.probe is None else no_remark)
        yield own
    for name, benchmark in data.benchmarks.items():
        module = import_module(BENCHMARKS[known(name, BENCHMARKS, "data.benchmarks")])
        read = partial(_benchmark, data, name, config.seed, seen)
        found = _report(name, f"data.benchmarks.{name}.folder", read, benchmark.items is not None)
        yield found if found.missing is None else replace(found, counts=annotated(module, name, Path(benchmark.folder)))
    seen.put_apart(data)
    for source in together(data):
        read = partial(_labels, source, data, config.seed, seen)
        remark = lacks if "probe" in source.keys else no_remark
        key = f"data.{source.keys[0]}.folder"
        yield replace(_report(source.dataset, key, read, True, remark), name=f"{source.dataset} for {source.label}")
    fault = seen.fault(data)
    if fault:
        yield SourceReport("all of it together", "data", None, fault, {}, None)
    language = config.language
    if language.treebank in TREEBANKS:
        yield _treebank(language.treebank, language.folder, "language.folder")
    for name, domain in language.domains.items():
        found = _treebank(domain.treebank, domain.folder, f"language.domains.{name}.folder")
        yield replace(found, name=f"domain {name}")


class Seen:
    """What was read so far, for what a run asks of all of it together."""

    def __init__(self) -> None:
        self.parts: list[DatasetTables] = []
        self.own = False
        """Whether the data set itself is the first of them."""

    @property
    def images(self) -> pd.DataFrame:
        """IMAGES of all of it."""
        return pd.concat([IMAGES.empty(), *(part.images for part in self.parts)])

    def put_apart(self, config: DataConfig) -> None:
        """Leave out what a benchmark tests on, as a run does before it looks for labels."""
        if self.own:
            self.parts = apart(self.parts[0], self.parts[1:], config)

    def fault(self, config: DataConfig) -> str:
        """Why a run cannot take all of it together, though each part is right; empty where it can."""
        if not self.own:
            return ""
        try:
            tables = whole(self.parts, config)
            for name, table in TABLES.items():
                table.check(getattr(tables, name))
        except UserError as error:
            return str(error)
        except ValueError as error:
            return f"{one_line(error)}; mend the data set"
        return ""


def _own(config: DataConfig, seed: int, seen: Seen) -> DatasetTables:
    # Only an embedded data set, which is not read here, writes anything to the folder of the run.
    found = read_own(config, seed, "")
    tables = whole([found], config)
    seen.parts.append(found)
    seen.own = True
    return tables


def _benchmark(config: DataConfig, name: str, seed: int, seen: Seen) -> DatasetTables:
    found = read_benchmark(config, name, seed)
    tables = checked([found], config)
    seen.parts.append(found)
    return tables


def _labels(source: Source, config: DataConfig, seed: int, seen: Seen) -> DatasetTables:
    (found,) = read_sources(config, seed, seen.images, [source])
    tables = checked([found], config)
    seen.parts.append(found)
    return tables


def no_remark(tables: DatasetTables) -> str:
    """Of a source that lacks nothing that a run asks of it."""
    return ""


def probe_lacks(tables: DatasetTables, folds: int) -> str:
    """What the probe of relations lacks in the split that it reads, in a sentence; empty where it can run.

    It tells predicates apart, each in at least `folds` images, so that it can be cross-validated by image.
    """
    split = dict(zip(tables.images["image_id"], tables.images["split"], strict=True))
    probed = "probe" if "probe" in split.values() else "diagnosis"
    here = tables.relations[tables.relations["image_id"].map(split) == probed]
    images = here.groupby("predicate")["image_id"].nunique()
    enough = int((images >= folds).sum())
    if enough >= 2:
        return ""
    return (
        f"no probe: {enough} predicates are said of {folds} images or more of split {probed}, and two are needed, so "
        "the signal gate will say that the claim is not shown; data.probe can name a data set with labelled relations"
    )


def check_table(report: SourceReport) -> pd.DataFrame:
    """DATA_CHECK rows of one source: every count, held against the published one where there is one to hold."""
    expected = report.note.expected if report.note is not None and not report.limited else {}
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
        return [title, f"  BROKEN   {report.missing}" if report.missing else "  drawn by the project, needs no files"]
    lines = [title]
    if report.missing is not None:
        lines += [f"  MISSING  {report.missing}", f"  get it:  {report.note.obtain}"]
        lines += [f"  files:   {', '.join(report.note.files)}", f"  then:    set {report.key} to its folder"]
    for row in check_table(report).to_dict("records"):
        count, published = ("" if pd.isna(row[name]) else f"{row[name]:,}" for name in ("count", "published"))
        said = f"published {published}" if published else ""
        lines.append(f"  {row['counted']:<28} {count or '-':>10}  {said:<20} {row['state']}".rstrip())
    if report.problems is not None and len(report.problems):
        lines.append(f"  {len(report.problems)} problems and remarks, the first of them:")
        for problem in report.problems.head(most).to_dict("records"):
            place = ", ".join(str(problem[name]) for name in ("file", "row") if problem[name])
            lines.append(f"    {place}: {problem['problem']}")
    if report.remark:
        lines.append(f"  {report.remark}")
    if report.limited:
        lines.append("  limited by the configuration, so that no count is held against the published one")
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


def count_tables(tables: DatasetTables) -> dict[str, int]:
    """How many of everything: the names are those of `SourceNote.expected`."""
    images, captions = tables.images, tables.captions
    counts = {"images": len(images), "captions": len(captions), "objects": len(tables.objects)}
    counts |= {"relations": len(tables.relations), "questions": len(tables.questions)}
    counts |= {"images decoded to their end": len(images)}
    folders = {(tables.image_folder / path).parent for path in images["path"]}
    counts["image files"] = sum(path.suffix.lower() in SUFFIXES for folder in folders for path in folder.iterdir())
    split_of_image = dict(zip(images["image_id"], images["split"], strict=True))
    by_split = Counter(split_of_image.values())
    by_caption = Counter(captions["image_id"].map(split_of_image).dropna())
    if len(by_split) > 1:
        for split, parts in PUBLISHED_PARTS.items():
            counts[f"{split} images"] = sum(by_split[part] for part in parts)
            counts[f"{split} captions"] = sum(by_caption[part] for part in parts)
    counts |= {f"{name} ratings": count for name, count in sorted(Counter(tables.ratings["source"]).items())}
    counts |= {f"{name} items": count for name, count in sorted(Counter(tables.choices["benchmark"]).items())}
    return {counted: count for counted, count in counts.items() if count}


def _report(
    name: str,
    key: str,
    read: Callable[[], DatasetTables],
    limited: bool,
    remark: Callable[[DatasetTables], str] = no_remark,
) -> SourceReport:
    note = source_note(name)
    try:
        with reading(name, "get it again as docs/data.md says"):
            tables = read()
    except UserError as error:
        return SourceReport(name, key, note, str(error), {}, None)
    return SourceReport(name, key, note, None, count_tables(tables), tables.problems, limited, remark(tables))


def annotated(module: ModuleType, name: str, folder: Path) -> dict[str, int]:
    """Items that the annotation files of a benchmark hold, where they are there and only the images are missing."""
    if not folder.is_dir():
        return {}
    try:
        with reading(folder):
            items = module.read_items(folder, Problems(name, strict=False))
    except UserError:
        return {}
    if "benchmark" not in items:
        return {"questions" if "question_id" in items else "images": len(items)}
    return {f"{benchmark} items": count for benchmark, count in sorted(Counter(items["benchmark"]).items())}


def _treebank(name: str, place: str | None, key: str) -> SourceReport:
    from vialign.data.treebanks.penn import read_trees, split_files
    from vialign.data.treebanks.universal_dependencies import conllu_files, read_conllu

    note = TREEBANKS[name]
    folder = Path(place or "")
    if place is None or not folder.is_dir():
        return SourceReport(name, key, note, f"{name}: {place}: no such folder; set {key}", {}, None)
    try:
        if name == "ptb":
            train, held = (sum(len(read_trees(file)) for file in files) for files in split_files(folder))
        else:
            train, held = (sum(len(read_conllu(f)) for f in conllu_files(folder, part)) for part in ("train", "dev"))
    except UserError as error:
        return SourceReport(name, key, note, str(error), {}, None)
    return SourceReport(name, key, note, None, {"train sentences": train, "held-out sentences": held}, None)
