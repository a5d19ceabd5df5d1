"""Results of several models on several benchmarks: means in every convention, published values, paired differences."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign import __version__
from vialign.aligner.aligner import Aligner
from vialign.backbone.published import published_terms
from vialign.benchmarking.measuring import Benchmark, measure, pointed
from vialign.benchmarking.models import Model, Precision, slug
from vialign.data.base import DatasetTables
from vialign.data.benchmarks.flickr30k_entities import SPLIT as GROUNDED
from vialign.data.registry import source_note
from vialign.errors import UserError
from vialign.evaluation.compare import comparison_table, published_tag_rules, results_table
from vialign.evaluation.conventions import compared_outcomes
from vialign.evaluation.reproduction import check_reproduction
from vialign.files.artifacts import Provenance, read_provenance, read_table, write_table
from vialign.names import BENCHMARKS
from vialign.tables.evaluation import OUTCOMES, PUBLISHED, RANKS
from vialign.tables.language import POINTING
from vialign.tables.schema import Table
from vialign.toolkit.captions import warn

_MADE = "evaluation"
"""Key of the provenance: a digest of everything that the outcomes follow from."""


@dataclass(frozen=True)
class Found:
    """What was found of every model on every benchmark."""

    outcomes: pd.DataFrame
    """OUTCOMES."""
    ranks: pd.DataFrame
    """RANKS, of the benchmarks with captions."""
    pointing: pd.DataFrame
    """POINTING, of Flickr30k Entities."""
    read: Mapping[str, DatasetTables]
    """What was read of each benchmark."""
    contracts: Mapping[str, Mapping[str, str]]
    """Of the backbone of each model, by the model's name."""


def measure_all(
    models: Sequence[Model],
    benchmarks: Sequence[Benchmark],
    folder: Path,
    *,
    batch: int,
    precision: Precision | None,
    device: str,
) -> Found:
    """Measure every model on every benchmark.

    Each pair has Parquet files of its own in `folder`, `<table>/<model>/<benchmark>.parquet`, written when it is done.
    A pair whose files are all there and were made of the same model, data, precision and version is taken as it is, so
    that an interrupted call goes on. Images are known by where they lie and not by their bytes; the batch and the
    device change no more than rounding. Without a `precision` each model runs in its own.

    Raises UserError as `measure`.
    """
    read = {benchmark.name: benchmark.read() for benchmark in benchmarks}
    digests = {benchmark.name: _digest_of(benchmark, read[benchmark.name]) for benchmark in benchmarks}
    frames: dict[str, list[pd.DataFrame]] = {table.name: [table.empty()] for table in (OUTCOMES, RANKS, POINTING)}
    contracts = {}
    for model in models:
        opened, own = model.open(device, precision), model.precision(precision)
        contracts[model.name] = opened.backbone.contract
        made = {"vialign": __version__, "contract": opened.backbone.contract, "precision": own}
        made |= {"name": model.name, "model": model.described()}
        for benchmark in benchmarks:
            tables = read[benchmark.name]
            wanted = _wanted(benchmark, tables)
            files = {table: folder / table.name / slug(model.name) / f"{benchmark.name}.parquet" for table in wanted}
            digest = _digest([made, digests[benchmark.name]])
            if all(file.is_file() and read_provenance(file).get(_MADE) == digest for file in files.values()):
                warn(f"{model.name}, {benchmark.name}: is done already ({files[OUTCOMES]})")
            else:
                found = _measured(opened, benchmark, tables, model.name, batch)
                for table, file in files.items():
                    provenance = {_MADE: digest, "model": model.name, "precision": own}
                    write_table(found[table], table, file, provenance)
            for table, file in files.items():
                frames[table.name].append(read_table(file, table))
    outcomes, ranks, pointing = (pd.concat(parts, ignore_index=True) for parts in frames.values())
    return Found(outcomes, ranks, pointing, read, contracts)


def results_of(outcomes: pd.DataFrame) -> pd.DataFrame:
    """RESULTS, in every convention that applies."""
    return results_table(outcomes, tag_rules=published_tag_rules())


def comparisons_of(outcomes: pd.DataFrame, models: Sequence[Model]) -> pd.DataFrame:
    """COMPARISONS of every model with every one named before it, paired by item; no measure is compared twice."""
    names = [model.name for model in models]
    pairs = [(later, first) for place, first in enumerate(names) for later in names[place + 1 :]]
    return comparison_table(compared_outcomes(outcomes), pairs)


def published_of(
    results: pd.DataFrame,
    models: Sequence[Model],
    read: Mapping[str, DatasetTables],
    contracts: Mapping[str, Mapping[str, str]],
    limited: bool,
    more: Sequence[str] = (),
) -> pd.DataFrame:
    """PUBLISHED: every published value that a plain model can be held against, with the causes of a miss as in a run.

    `contracts` are those of the backbones by the models' names, `more` files of published values beside those of the
    package. None where only a part of the items was measured. Raises UserError as `published_values`.
    """
    frames = []
    for model in models:
        known = model.published(more)
        if known is None or limited:
            continue
        architecture, tag = known
        for name, tables in read.items():
            dataset = "none" if name in BENCHMARKS else name
            note = source_note(name)
            found = check_reproduction(
                results[results["benchmark"].str.startswith(f"{name}/")],
                architecture,
                tag,
                dataset,
                method=model.name,
                split=name,
                contract=contracts[model.name],
                images=tables.images,
                published_counts=None if note is None else note.expected,
                published=more,
                terms=published_terms(architecture, tag),
            )
            frames.append(found.assign(method=model.name))
    if not frames:
        return PUBLISHED.empty()
    found = pd.concat(frames, ignore_index=True).drop_duplicates(["method", "benchmark", "metric"], ignore_index=True)
    return PUBLISHED.check(found[list(PUBLISHED.columns)])


def evaluation_provenance(
    models: Sequence[Model], benchmarks: Sequence[Benchmark], precision: Precision | None
) -> Provenance:
    """What made the tables and the page; of models that run in several precisions that of each, in their order."""
    own = [model.precision(precision) for model in models]
    return {
        "models": ", ".join(model.name for model in models),
        "benchmarks": ", ".join(benchmark.name for benchmark in benchmarks),
        "limit": str(benchmarks[0].limit or "all items"),
        "precision": own[0] if len(set(own)) == 1 else ", ".join(own),
        "vialign": __version__,
    }


def check_models(models: Sequence[Model]) -> None:
    """Raises UserError where two models would write the same files."""
    slugs = [slug(model.name) for model in models]
    twice = next((model.name for model, own in zip(models, slugs, strict=True) if slugs.count(own) > 1), None)
    if twice is not None:
        raise UserError(f"--model: the name {twice!r} differs from another one only in signs; rename its folder")


def _wanted(benchmark: Benchmark, tables: DatasetTables) -> tuple[Table, ...]:
    """What is measured on a benchmark: ranks where it has captions, the pointing game where phrases have boxes."""
    ranks = (RANKS,) if len(tables.captions) else ()
    return (OUTCOMES, *ranks, *((POINTING,) if benchmark.name == GROUNDED else ()))


def _measured(
    aligner: Aligner, benchmark: Benchmark, tables: DatasetTables, name: str, batch: int
) -> Mapping[Table, pd.DataFrame]:
    """Every table of one model on one benchmark."""
    ranks = [RANKS.empty()]
    found = {OUTCOMES: measure(aligner, benchmark, tables, name, batch, ranks)}
    if benchmark.name == GROUNDED:
        found[POINTING] = pointed(aligner, benchmark, tables, name, batch)
    return found | {RANKS: pd.concat(ranks, ignore_index=True)}


def _digest_of(benchmark: Benchmark, tables: DatasetTables) -> str:
    """Of what was read, and of where the images lie."""
    read = ("images", "captions", "choices", "questions", *(("objects",) if benchmark.name == GROUNDED else ()))
    parts = [getattr(tables, name) for name in read]
    places = {source: str(benchmark.folders[source].resolve()) for source in sorted(set(tables.images["source"]))}
    return _digest([*(part.to_json(orient="split") for part in parts), places])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
