"""The page of `vialign frontier`: retrieval against composition, and what tuning for composition costs."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vialign.config.experiment import Config
from vialign.evaluation.frontier import Frontier, own_points
from vialign.files.artifacts import read_table, write_text
from vialign.report.blocks import Section
from vialign.report.build import render_page
from vialign.report.sections.frontier import benchmarks, checkpoints, summary, tuning
from vialign.tables.evaluation import RESULTS

TABLES = ("compare_all/results.parquet", "compare/results.parquet")
"""Where a run's means stand, the full comparison first."""


def build_frontier(
    frontier: Frontier, base: str, output: Path, provenance: Mapping[str, str], results: Path | None, config: Config
) -> None:
    """Write one self-contained page. Raises UserError when the file has no `base`, or a table of the run is broken."""
    own = None if results is None else own_results(results, config)
    sections = [
        Section("summary", "At a glance", summary(frontier, base)),
        Section("tuning", "What tuning for composition costs", tuning(frontier, base)),
        Section("benchmarks", "Benchmark by benchmark", benchmarks(frontier, base, own)),
        Section("checkpoints", "Every checkpoint", [checkpoints(frontier)]),
    ]
    write_text(str(render_page("Retrieval against composition", "vialign frontier", sections, provenance)), output)


def own_results(results: Path, config: Config) -> pd.DataFrame:
    """What a run measured of the frontier's benchmarks; empty where it measured none of them."""
    path = next((results / name for name in TABLES if (results / name).is_file()), results / TABLES[-1])
    return own_points(read_table(path, RESULTS), config.data.dataset, config.evaluation.splits[0])
