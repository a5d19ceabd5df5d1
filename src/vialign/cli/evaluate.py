"""`vialign evaluate`: any model on any benchmark of the registry, without a configuration."""

from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vialign.cli.errors import one_line_errors
from vialign.cli.options import Device, Json, Strict, Tolerance, TowerBatch
from vialign.cli.printing import json_rows, print_columns, print_object
from vialign.errors import UserError
from vialign.files.paths import PAGE, TABLE, Output, check_paths

if TYPE_CHECKING:
    import pandas as pd

PAGE_FILE = "index.html"
_FILES = ("results.parquet", "ranks.parquet", "pointing.parquet", "comparisons.parquet", "published.parquet")
"""The tables beside the page, each by its name in `vialign.tables`."""
_NOT_HELD = (
    "--published: no value is held against a model; a plain model is known by its architecture and by the name of its "
    "checkpoint in --pretrained, an exported folder is none, and with --limit nothing is compared"
)


class Precision(StrEnum):
    """Of the towers."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


def evaluate(
    model: Annotated[
        list[str],
        typer.Option(
            help="An open_clip name or JSON, the folder of a BLIP, or an exported folder; repeat it to compare models."
        ),
    ],
    benchmark: Annotated[
        list[str],
        typer.Option(
            help="One that `vialign benchmarks` lists, or the test split of flickr8k, flickr30k, coco, visual_genome, "
            "vg200 or captioned (pictures and captions of your own); may be repeated."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder with a folder of each benchmark's name, or of the only one.")],
    out: Annotated[Path, typer.Option(help="Folder for the outcomes, the tables and index.html.")],
    pretrained: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights of each --model that has none of its own, in order: a file, a tag, or `random`; an exported "
            "folder takes one that later models leave it."
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(help="BENCHMARK=FOLDER: where its images lie, when not in its own folder; may be repeated."),
    ] = None,
    published: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of published values, as the config key evaluation.published reads it, to hold models against "
            "beside the values of the package; may be repeated."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each benchmark at most, drawn by seed.")] = None,
    batch: TowerBatch = 64,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Of the towers; by default that of an exported folder, else fp32, which published numbers want."
        ),
    ] = None,
    device: Device = "cpu",
    strict: Strict = False,
    tolerance: Tolerance = 0.05,
    as_json: Json = False,
) -> None:
    """Measure models on benchmarks: per-item outcomes, metrics in every convention, published values, comparisons.

    Of retrieval the median rank and mAP@R are told too, and of flickr30k_entities the pointing game of every readout.

    What is done already in --out, of the same model, data, precision and version, is taken as it is: an interrupted
    call goes on. A docs/data.md entry says how to get each benchmark and what its folder holds.

    Example: `vialign evaluate --model ViT-B-32 --pretrained weights.safetensors --benchmark winoground --benchmark aro
    --data benchmarks --out evaluated`
    """
    with one_line_errors():
        more = [str(file) for file in published or []]
        _check_places(data, out, more)
        from vialign.benchmarking.measuring import named_benchmark
        from vialign.benchmarking.models import named_models
        from vialign.benchmarking.tables import (
            check_models,
            comparisons_of,
            evaluation_provenance,
            measure_all,
            published_of,
            results_of,
        )
        from vialign.evaluation.published_values import published_values
        from vialign.toolkit.captions import warn

        places = _images_of(images or [], benchmark)
        asked = list(dict.fromkeys(benchmark))
        published_values(tuple(more))  # what is wrong with a file is said before anything is measured
        models = named_models(model, pretrained or [])
        check_models(models)
        named = [named_benchmark(name, data, places.get(name), limit, strict, tolerance) for name in asked]
        asked_for: Literal["fp32", "fp16", "bf16"] | None = None if precision is None else precision.value
        found = measure_all(models, named, out, batch=batch, precision=asked_for, device=device)
        results = results_of(found.outcomes)
        comparisons = comparisons_of(found.outcomes, models)
        beside = published_of(results, models, found.read, found.contracts, limit is not None, more)
        problems = {name: tables.problems["problem"].head(5).tolist() for name, tables in found.read.items()}
        made = evaluation_provenance(models, named, asked_for)
        tables = {"results": results, "ranks": found.ranks, "pointing": found.pointing, "comparisons": comparisons}
        _write(out, made, tables | {"published": beside}, problems)
        if more and beside.empty:
            warn(_NOT_HELD)
        if as_json:
            print_object({name: json_rows(table) for name, table in tables.items()})
            return
        print_columns(_shown(results, ["method", "benchmark", "measure", "convention"], ["items", "ties"]))
        print_columns(_shown_ranks(found.ranks))
        print_columns(_shown(found.pointing, ["method", "domain", "measure", "subject"], ["count"]))
        for row in comparisons.to_dict("records"):
            print(
                f"{row['method']} less {row['reference']}, {row['benchmark']}, {row['measure']}: "
                f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}] points, "
                f"p {row['p_holm']:.3f} (Holm)"
            )
        print(f"{out / PAGE_FILE}: written, beside {', '.join(_FILES)} and every item's outcome")


def _check_places(data: Path, out: Path, published: list[str]) -> None:
    if not data.is_dir():
        raise UserError(f"--data: {data}: no such folder")
    tables = [Output("--out", out / name, TABLE) for name in _FILES]
    inputs = {"--data": data} | {f"--published {file}": Path(file) for file in published}
    check_paths([Output("--out", out, None), *tables, Output("--out", out / PAGE_FILE, PAGE)], inputs)


def _images_of(given: list[str], benchmarks: list[str]) -> dict[str, Path]:
    """Folders of images by benchmark. Raises UserError for one that is not asked for."""
    found = {}
    for entry in given:
        name, _, folder = entry.partition("=")
        if not folder or name not in benchmarks:
            raise UserError(f"--images {entry}: write BENCHMARK=FOLDER, with one of {', '.join(benchmarks)}")
        found[name] = Path(folder)
    return found


def _write(
    out: Path,
    made: dict[str, str],
    tables: dict[str, "pd.DataFrame"],
    problems: dict[str, list[str]],
) -> None:
    """The tables, by the name of each, and the page."""
    from vialign.files.artifacts import write_table, write_text
    from vialign.report.benchmarks import render_benchmarks
    from vialign.report.build import with_links
    from vialign.tables.evaluation import COMPARISONS, PUBLISHED, RANKS, RESULTS
    from vialign.tables.language import POINTING

    for table in (RESULTS, RANKS, POINTING, COMPARISONS, PUBLISHED):
        write_table(tables[table.name], table, out / f"{table.name}.parquet", made)
    page = render_benchmarks(**tables, problems=problems, provenance=made)
    write_text(with_links(page, out, out / PAGE_FILE), out / PAGE_FILE)


def _shown(table: "pd.DataFrame", before: list[str], after: list[str]) -> "pd.DataFrame":
    """The columns of a table with intervals that a terminal shows, in percent; chance has no interval."""
    frame = table[before].copy()
    frame["percent"] = [f"{100 * value:.2f}" for value in table["value"]]
    frame["interval"] = [
        "" if isnan(low) else f"[{100 * low:.1f}, {100 * high:.1f}]"
        for low, high in zip(table["low"], table["high"], strict=True)
    ]
    return frame.join(table[after])


def _shown_ranks(ranks: "pd.DataFrame") -> "pd.DataFrame":
    """The same of the ranks; mAP@R in percent."""
    frame = ranks[["method", "benchmark", "median_rank"]].copy()
    frame["map_at_r"] = [f"{100 * value:.2f}" for value in ranks["map_at_r"]]
    return frame.assign(queries=ranks["queries"], gallery=ranks["gallery"])
