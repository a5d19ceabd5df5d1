"""The page of `vialign evaluate`: models on benchmarks, published values beside them, paired differences."""

from collections.abc import Mapping, Sequence

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import Section, bullets, paragraph, say
from vialign.report.build import render_page
from vialign.report.evidence import FILE, ROW
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import COMPARISONS, REPRODUCTION, RESULTS

RESULTS_FILE, COMPARISONS_FILE, PUBLISHED_FILE = "results.parquet", "comparisons.parquet", "published.parquet"


def render_benchmarks(
    results: pd.DataFrame,
    comparisons: pd.DataFrame,
    published: pd.DataFrame,
    problems: Mapping[str, Sequence[str]],
    provenance: Mapping[str, str],
) -> str:
    """The page as text, self-contained. `problems` are lines on what was left out of each benchmark."""
    sections = [Section("results", "Results", [*_results(results, problems)])]
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
        render_table(
            _traced(results, RESULTS_FILE),
            RESULTS,
            source=RESULTS_FILE,
            title="Every model on every benchmark",
            columns=[
                Show("method", "Model"),
                Show("benchmark", "Benchmark"),
                Show("measure", "Measure"),
                Show("convention", "Convention"),
                Show("value", "Percent", "percent", "low", "high"),
                Show("items", "Items", "count"),
                Show("ties", "Ties", "count"),
            ],
            limit=1000,
        ),
    ]
    lines = [say("{}: {}", name, line) for name, found in problems.items() for line in found]
    return [*blocks, paragraph("What was left out, or must be known:"), bullets(lines)] if lines else blocks


def _published(published: pd.DataFrame) -> Markup:
    return render_table(
        _traced(published, PUBLISHED_FILE),
        REPRODUCTION,
        source=PUBLISHED_FILE,
        title="Measured and published, percent",
        columns=[
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
        limit=1000,
    )


def _comparisons(comparisons: pd.DataFrame) -> list[Markup]:
    return [
        paragraph(
            "Differences of the models on the same items, in points of a percent, paired by item; images with several "
            "items count once. The p-value is corrected by Holm over all rows, and <em>detectable</em> is the smallest "
            "difference that this many items find with 80 % power."
        ),
        render_table(
            _traced(comparisons, COMPARISONS_FILE),
            COMPARISONS,
            source=COMPARISONS_FILE,
            title="Each model less an earlier one",
            columns=[
                Show("method", "Model"),
                Show("reference", "Less"),
                Show("benchmark", "Benchmark"),
                Show("measure", "Measure"),
                Show("difference", "Points", "points", "low", "high"),
                Show("p_holm", "p (Holm)", "p"),
                Show("detectable", "Detectable", "points"),
                Show("items", "Items", "count"),
            ],
            limit=1000,
        ),
    ]


def _traced(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    traced = frame.copy()
    traced[FILE], traced[ROW] = file, range(len(frame))
    return traced
