"""The page of `vialign evaluate`: models on benchmarks, published values beside them, paired differences."""

from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import Section, bullets, paragraph, say
from vialign.report.build import render_page
from vialign.report.evidence import FILE, ROW
from vialign.report.sections.common import RANK_COLUMNS
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import COMPARISONS, PUBLISHED, RANKS, RESULTS
from vialign.tables.language import POINTING
from vialign.tables.schema import Table


def render_benchmarks(
    results: pd.DataFrame,
    ranks: pd.DataFrame,
    pointing: pd.DataFrame,
    comparisons: pd.DataFrame,
    published: pd.DataFrame,
    problems: Mapping[str, Sequence[str]],
    provenance: Mapping[str, str],
) -> str:
    """The page as text, self-contained. `problems` are lines on what was left out of each benchmark."""
    sections = [Section("results", "Results", [*_results(results, problems)])]
    if len(ranks):
        sections.append(Section("ranks", "Retrieval by rank", [*_ranks(ranks)]))
    if len(pointing):
        sections.append(Section("pointing", "Phrases pointed at", [*_pointing(pointing)]))
    if len(published):
        sections.append(Section("published", "Beside published values", [_published(published)]))
    if len(comparisons):
        sections.append(Section("comparisons", "Paired comparisons", [*_comparisons(comparisons)]))
    models = list(dict.fromkeys(results["method"]))
    title = models[0] if len(models) == 1 else f"{len(models)} models compared"
    return render_page(title, "vialign evaluate", sections, provenance)


def _results(results: pd.DataFrame, problems: Mapping[str, Sequence[str]]) -> list[Markup]:
    blocks = [
        paragraph(
            "Percent, with 95 % intervals over images. Inequalities are strict, so a tie is wrong "
            "(<code>micro</code>); <code>lenient</code> counts ties as right, <code>macro</code> is the mean of tags, "
            "and <code>published</code> that over the tags that the authors count."
        ),
        _table(
            results,
            RESULTS,
            "Every model on every benchmark",
            [
                Show("method", "Model"),
                Show("benchmark", "Benchmark"),
                Show("measure", "Measure"),
                Show("convention", "Convention"),
                Show("value", "Percent", "percent", "low", "high"),
                Show("items", "Items", "count"),
                Show("ties", "Ties", "count"),
            ],
        ),
    ]
    lines = [say("{}: {}", name, line) for name, found in problems.items() for line in found]
    return [*blocks, paragraph("What was left out, or must be known:"), bullets(lines)] if lines else blocks


def _ranks(ranks: pd.DataFrame) -> list[Markup]:
    return [
        paragraph(
            "The median over queries of the rank of the first right candidate, and mAP@R: with R right candidates the "
            "mean of the precision at their places, where a place beyond R counts 0. A tie is lost."
        ),
        _table(
            ranks,
            RANKS,
            "Median rank and mAP@R",
            [Show("method", "Model"), *RANK_COLUMNS],
        ),
    ]


def _pointing(pointing: pd.DataFrame) -> list[Markup]:
    columns = [
        Show("method", "Model"),
        Show("domain", "Benchmark"),
        Show("subject", "What points"),
        Show("value", "Percent", "percent", "low", "high"),
        Show("count", "Phrases", "count"),
    ]
    return [
        paragraph(
            "How often the patch most similar to a phrase lies in one of the boxes that people drew for it, for every "
            "readout of the frozen image tower, which no method changes; chance is the share of patches in the boxes. "
            "Prototypes point in a run alone (<code>disentangle/phrase_grounding.parquet</code>)."
        ),
        _table(pointing, POINTING, "The pointing game", columns),
    ]


def _published(published: pd.DataFrame) -> Markup:
    return _table(
        published,
        PUBLISHED,
        "Measured and published, percent",
        [
            Show("method", "Model"),
            Show("benchmark", "Benchmark"),
            Show("metric", "Metric"),
            Show("measured", "Measured", "number"),
            Show("published", "Published", "number"),
            Show("tolerance", "Tolerance", "plain"),
            Show("passed", "Within it", "verdict"),
            Show("cause", "Likely cause", "prose"),
            Show("source", "Source", "prose"),
        ],
    )


def _comparisons(comparisons: pd.DataFrame) -> list[Markup]:
    return [
        paragraph(
            "Differences of the models on the same items, in points of a percent, paired by item; images with several "
            "items count once. The p-value is corrected by Holm over all rows, and <em>detectable</em> is the smallest "
            "difference that this many items find with 80 % power."
        ),
        _table(
            comparisons,
            COMPARISONS,
            "Each model less an earlier one",
            [
                Show("method", "Model"),
                Show("reference", "Less"),
                Show("benchmark", "Benchmark"),
                Show("measure", "Measure"),
                Show("difference", "Points", "points", "low", "high"),
                Show("p_holm", "p (Holm)", "p"),
                Show("detectable", "Detectable", "points"),
                Show("items", "Items", "count"),
            ],
        ),
    ]


def _table(frame: pd.DataFrame, table: Table, title: str, columns: Sequence[Show]) -> Markup:
    """A table that lies beside the page under its own name, traced to it."""
    file = f"{table.name}.parquet"
    traced = frame.copy()
    traced[FILE], traced[ROW] = file, range(len(frame))
    return render_table(traced, table, source=file, title=title, columns=columns, limit=1000)
