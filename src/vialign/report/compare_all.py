"""The page of the full comparison: every method under one recipe."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vialign.catalogue import FULL, GUIDED, meaning
from vialign.config.experiment import Config
from vialign.files.artifacts import write_text
from vialign.report import summary
from vialign.report.blocks import Section, absent, bullets, figure, gallery, paragraph, say
from vialign.report.build import render_page, with_links
from vialign.report.evidence import PLACES, Evidence, read_evidence
from vialign.report.figures import interval_plot
from vialign.report.sections import provenance
from vialign.report.sections.common import MEASURE_NAMES, words
from vialign.report.sections.methods import comparison_table, difference_figures, efficiency, results_blocks
from vialign.report.sections.training import training
from vialign.stage import Run
from vialign.tables.evaluation import COMPARISONS, RANKS, RESULTS
from vialign.tables.gates import BUDGET

COMPARED = {
    **PLACES,
    "results": ("compare_all/results.parquet", RESULTS),
    "ranks": ("compare_all/ranks.parquet", RANKS),
    "comparisons": ("compare_all/comparisons.parquet", COMPARISONS),
    "budget": ("compare_all/ledger.parquet", BUDGET),
}
"""The run's tables, with those of the full comparison in the place of the main run's."""


def build_compare_all(run: Run) -> None:
    """Write the page of the full comparison. Raises UserError when a table is broken."""
    output, settings = Path(run.output[0]), run.config.training
    methods = {"methods": settings.compared, "seeds": settings.compare_seeds}
    config = run.config.model_copy(update={"training": settings.model_copy(update=methods)})
    evidence = read_evidence(run.results, config, COMPARED)
    sections = [
        overview(evidence, config),
        *([guided_rate(evidence, config)] if GUIDED in settings.compared else []),
        Section("results", "Results", results_blocks(evidence, config)),
        training(evidence, config),
        efficiency(evidence, config),
        provenance(evidence, config),
    ]
    page = render_page(f"{config.title}: every method", "vialign comparison", sections, run.provenance)
    write_text(with_links(page, run.results, output), output)


def overview(evidence: Evidence, config: Config) -> Section:
    """The project's method against every other, benchmark by benchmark."""
    section = Section("summary", "Every method under one recipe")
    frame, path = evidence.get("comparisons"), evidence.path("comparisons")
    own = summary.main_method(evidence)
    if frame is None or own is None:
        section.blocks.append(absent("the paired comparisons", path, evidence.stopped))
        return section
    section.blocks.append(
        paragraph(
            "The combination that selection chose, <strong>{}</strong>, against every other method: same data, "
            "batches, steps, search and seeds; paired by item and by seed. A gain is called significant when its "
            "p-value stays under {} after Holm's correction over every comparison of this page.",
            own,
            f"{config.evaluation.level:g}",
        )
    )
    against = frame[(frame["method"] == own) & frame["measure"].isin(summary.PRIMARY)]
    section.blocks.append(bullets(_counts(against, config.evaluation.level)))
    drawings = []
    for (benchmark, measure), part in against.groupby(["benchmark", "measure"], sort=False):
        split, _, name = str(benchmark).partition("/")
        title = f"{words(name)}, {MEASURE_NAMES.get(str(measure), words(measure))} ({words(split)})"
        svg = interval_plot(
            part.sort_values("difference", kind="stable"),
            name=f"all-{benchmark}-{measure}".replace("/", "-").replace("_", "-"),
            title=title,
            row="reference",
            value="difference",
            axis="points gained over each method",
            lines=[(0.0, "no difference")],
            scale=100,
        )
        reading = (
            "A bar wholly to the right of the line is a gain over that method, wholly to the left a loss. Intervals "
            "are of one comparison each; what stays significant among all of them is counted above."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    section.blocks.append(gallery(drawings))
    section.blocks.append(comparison_table(frame, config, path))
    return section


def guided_rate(evidence: Evidence, config: Config) -> Section:
    """The learning rate that C guides against the same schedule without it (exploratory)."""
    section = Section("guided", "Signal-guided learning rate")
    frame, path = evidence.get("comparisons"), evidence.path("comparisons")
    rows = None if frame is None else frame[(frame["method"] == GUIDED) & (frame["reference"] == FULL)]
    if rows is None or rows.empty:
        section.blocks.append(absent(f"a comparison of {GUIDED} with {FULL}", path, evidence.stopped))
        return section
    section.blocks.append(
        paragraph(
            "In <code>{}</code> the scheduled rate is multiplied by mean C over that of the first batch, to a power. "
            "All else is <code>{}</code>, so the difference is what the guidance gives.",
            GUIDED,
            FULL,
        )
    )
    section.blocks.append(gallery(difference_figures(rows, FULL, config, path)))
    return section


def _counts(against: pd.DataFrame, level: float) -> list[Markup]:
    """One line a method: on how many benchmarks the project's method is significantly above it, and below."""
    lines = []
    for reference, part in against.groupby("reference", sort=False):
        sure = part[part["p_holm"] < level]
        above, below = int((sure["difference"] > 0).sum()), int((sure["difference"] < 0).sum())
        lines.append(
            say(
                "Against <strong>{}</strong>: significantly better on {} of {} measures, significantly worse on {}.",
                meaning(str(reference))[0],
                above,
                len(part),
                below,
            )
        )
    return lines
