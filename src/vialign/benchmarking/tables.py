"""Results of several models on several benchmarks: means in every convention, published values, paired differences."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vialign import __version__
from vialign.benchmarking.measuring import Benchmark, measure
from vialign.benchmarking.models import Model, Precision, slug
from vialign.data.base import DatasetTables
from vialign.data.registry import source_note
from vialign.errors import UserError
from vialign.evaluation.compare import comparison_table, published_tag_rules, results_table
from vialign.evaluation.conventions import compared_outcomes
from vialign.evaluation.reproduction import check_reproduction
from vialign.files.artifacts import Provenance, read_provenance, read_table, write_table
from vialign.names import BENCHMARKS
from vialign.tables.evaluation import OUTCOMES, PUBLISHED
from vialign.toolkit.captions import warn

_MADE = "evaluation"
"""Key of the provenance: a digest of everything that the outcomes follow from."""


def outcomes_of(
    models: Sequence[Model],
    benchmarks: Sequence[Benchmark],
    folder: Path,
    *,
    batch: int,
    precision: Precision | None,
    device: str,
) -> tuple[pd.DataFrame, Mapping[str, DatasetTables]]:
    """OUTCOMES of every model on every benchmark, and what was read of each benchmark.

    Each pair is a Parquet file of its own in `folder`, written when it is done; one that is there and was made of the
    same model, data, precision and version is taken as it is, so that an interrupted call goes on. Images are known by
    where they lie and not by their bytes; the batch and the device change no more than rounding. Without a `precision`
    each model runs in its own. Raises UserError as `measure`.
    """
    read = {benchmark.name: benchmark.read() for benchmark in benchmarks}
    digests = {benchmark.name: _digest_of(benchmark, read[benchmark.name]) for benchmark in benchmarks}
    frames = []
    for model in models:
        opened, own = model.open(device, precision), model.precision(precision)
        made = {"vialign": __version__, "contract": opened.backbone.contract, "precision": own}
        made |= {"name": model.name, "model": model.described()}
        for benchmark in benchmarks:
            file = folder / "outcomes" / slug(model.name) / f"{benchmark.name}.parquet"
            digest = _digest([made, digests[benchmark.name]])
            if file.is_file() and read_provenance(file).get(_MADE) == digest:
                warn(f"{model.name}, {benchmark.name}: is done already ({file})")
            else:
                found = measure(opened, benchmark, read[benchmark.name], model.name, batch)
                write_table(found, OUTCOMES, file, {_MADE: digest, "model": model.name, "precision": own})
            frames.append(read_table(file, OUTCOMES))
    return pd.concat(frames, ignore_index=True), read


def results_of(outcomes: pd.DataFrame) -> pd.DataFrame:
    """RESULTS, in every convention that applies."""
    return results_table(outcomes, tag_rules=published_tag_rules())


def comparisons_of(outcomes: pd.DataFrame, models: Sequence[Model]) -> pd.DataFrame:
    """COMPARISONS of every model with every one named before it, paired by item; no measure is compared twice."""
    names = [model.name for model in models]
    pairs = [(later, first) for place, first in enumerate(names) for later in names[place + 1 :]]
    return comparison_table(compared_outcomes(outcomes), pairs)


def published_of(
    results: pd.DataFrame, models: Sequence[Model], read: Mapping[str, DatasetTables], limited: bool
) -> pd.DataFrame:
    """PUBLISHED: every published value that a plain model can be held against.

    None where only a part of the items was measured.
    """
    frames = []
    for model in models:
        if model.published is None or limited:
            continue
        architecture, tag = model.published
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
                images=tables.images,
                published_counts=None if note is None else note.expected,
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


def _digest_of(benchmark: Benchmark, tables: DatasetTables) -> str:
    """Of what was read, and of where the images lie."""
    parts = [getattr(tables, name) for name in ("images", "captions", "choices", "questions")]
    places = {source: str(benchmark.folders[source].resolve()) for source in sorted(set(tables.images["source"]))}
    return _digest([*(part.to_json(orient="split") for part in parts), places])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
