"""What training, comparison, ablation and the ledger gave."""

import pandas as pd
from markupsafe import Markup

from vialign.budget.printing import SHARES
from vialign.catalogue import meaning
from vialign.config.experiment import Config
from vialign.report import summary
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.sections.backbones import backbones
from vialign.report.sections.blind import solved_blind
from vialign.report.sections.common import RANK_COLUMNS, benchmark_name, by_method, method_order, words
from vialign.report.sections.confirmation import confirmation_blocks
from vialign.report.sections.spending import spending
from vialign.report.sections.supervision import supervision
from vialign.report.tables import Show, render_matrix, render_table
from vialign.tables.evaluation import COMPARISONS, RANKS, RESULTS
from vialign.tables.gates import ABLATION, BUDGET, CONTRIBUTIONS


def comparison(evidence: Evidence, config: Config) -> Section:
    """Results with intervals, and paired differences to the frozen backbone and to LoRA."""
    section = Section("comparison", "Comparison", results_blocks(evidence, config))
    section.blocks.extend(confirmation_blocks(evidence, config))
    section.blocks.extend(backbones(evidence, config))
    section.blocks.extend(_differences(evidence, config))
    return section


def results_blocks(evidence: Evidence, config: Config) -> list[Markup]:
    """What every method reached on every benchmark, and what the methods are."""
    blocks: list[Markup] = []
    results, path = evidence.get("results"), evidence.path("results")
    if results is None:
        blocks.append(absent("the results", path, evidence.stopped))
    else:
        rows = [Show("benchmark", "Benchmark"), Show("measure", "Measure"), Show("convention", "Mean")]
        value = Show("value", "Value, %", "percent", "low", "high")
        blocks.append(
            render_matrix(
                by_method(config, results),
                RESULTS,
                source=path,
                title="Results, percent, with intervals",
                rows=rows,
                across="method",
                value=value,
            )
        )
        columns = [
            Show("method", "Method"),
            *rows,
            value,
            Show("items", "Items", "count"),
            Show("seeds", "Seeds", "count"),
            Show("ties", "Ties", "count"),
        ]
        full = render_table(by_method(config, results), RESULTS, source=path, title="Results", columns=columns)
        blocks.append(folded("Items, seeds and ties of every result", full))
        blocks.extend(_ranks(evidence, config))
        blocks.append(folded("What the methods are", _meanings(by_method(config, results)["method"])))
        blocks.extend(supervision(evidence, config, list(dict.fromkeys(by_method(config, results)["method"]))))
        blocks.append(heading("Solved without seeing an image"))
        blocks.extend(solved_blind(evidence, config))
    return blocks


def _ranks(evidence: Evidence, config: Config) -> list[Markup]:
    """Median rank and mAP@R of retrieval, folded; nothing where no gallery was ranked whole."""
    ranks = evidence.get("ranks")
    if ranks is None:
        return []
    columns = [Show("method", "Method"), Show("seed", "Seed", "count"), *RANK_COLUMNS]
    table = render_table(
        by_method(config, ranks), RANKS, source=evidence.path("ranks"), title="Retrieval by rank", columns=columns
    )
    return [folded("Median rank and mAP@R of retrieval", table)]


def _meanings(methods: "pd.Series[str]") -> Markup:
    """One line a method: its name in the tables, its name among people, and what it is."""
    names = list(dict.fromkeys(methods))
    return bullets([say("<code>{}</code>: {}, {}", name, *meaning(name)) for name in names])


def _differences(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("comparisons"), evidence.path("comparisons")
    if frame is None:
        return [absent("the paired comparisons", path, evidence.stopped)]
    blocks = []
    for reference in summary.FLOOR:
        drawings = difference_figures(frame[frame["reference"] == reference], reference, config, path)
        blocks.append(heading(f"Against {reference}"))
        blocks.append(gallery(drawings) if drawings else absent(f"a comparison with {reference}", path, None))
    return [*blocks, comparison_table(frame, config, path)]


def difference_figures(against: pd.DataFrame, reference: str, config: Config, path: str) -> list[Markup]:
    """Main measures of all methods against one reference, rows of COMPARISONS: a figure a split."""
    drawings, order = [], method_order(config, against)
    against = against[against["measure"].isin(summary.PRIMARY)]
    for split, part in against.groupby(against["benchmark"].str.split("/").str[0], sort=False):
        title = f"Difference to {reference}, {words(split)}"
        svg = interval_plot(
            by_method(config, part.assign(label=benchmark_name(part))),
            name=f"difference-{reference}-{split}".replace("_", "-"),
            title=title,
            row="label",
            value="difference",
            series="method",
            order=order,
            axis=f"points above {reference}",
            lines=[(0.0, "no difference")],
            scale=100,
        )
        reading = (
            "A bar wholly to the right of the line is a gain, wholly to the left a loss, across it undecided. "
            "Bars count images and training seeds; the folded table has the interval over images and the spread over "
            "seeds apart."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    return drawings


def comparison_table(frame: pd.DataFrame, config: Config, path: str) -> Markup:
    """Every row of COMPARISONS, folded away."""
    columns = [
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("method", "Method"),
        Show("reference", "Against"),
        Show("difference", "Difference, points", "points", "low", "high"),
        Show("item_low", "Over images alone, from", "points"),
        Show("item_high", "to", "points"),
        Show("seed_spread", "Spread over seeds, points", "percent"),
        Show("seeds", "Seeds", "count"),
        Show("df", "df", "number"),
        Show("p_value", "p", "p"),
        Show("p_holm", "p, Holm", "p"),
        Show("detectable", "Detectable, points", "percent"),
        Show("items", "Items", "count"),
    ]
    table = render_table(
        by_method(config, frame), COMPARISONS, source=path, title="Paired comparisons", columns=columns, limit=2000
    )
    return folded("Every paired comparison with its tests", table)


def ablation(evidence: Evidence, config: Config) -> Section:
    """Every subset of the modules, the backward path, and what each module adds."""
    section = Section("ablation", "Ablation")
    frame, path = evidence.get("ablation"), evidence.path("ablation")
    if frame is None:
        section.blocks.append(absent("the ablation", path, evidence.stopped))
    else:
        frame = frame.sort_values("score", ascending=False, kind="stable")
        chosen = frame.loc[frame["chosen"], "method"].tolist()
        section.blocks.append(paragraph("Chosen combination: <strong>{}</strong>.", ", ".join(chosen) or "none"))
        title = "Every subset of the modules"
        svg = interval_plot(
            frame,
            name="ablation",
            title=title,
            row="method",
            value="score",
            axis="selection score, %",
            scale=100,
        )
        reading = (
            "The score is the mean of recall and accuracy against negatives, or recall alone where none are used; best "
            "on top, bars are intervals."
        )
        drawings = [figure(svg, title=title, reading=reading, sources=[path]), *_path(frame, path)]
        section.blocks.append(gallery(drawings))
        columns = [
            Show("method", "Subset"),
            Show("chosen", "Chosen", "flag"),
            Show("reweight", "Reweighting", "flag"),
            Show("regularise", "Regularisation", "flag"),
            Show("correct", "Correction", "flag"),
            Show("score", "Score, %", "percent", "low", "high"),
            Show("recall", "R@1, %", "percent"),
            Show("negatives", "Against negatives, %", "percent"),
            Show("path", "Place on the path", "plain"),
        ]
        section.blocks.append(render_table(frame, ABLATION, source=path, title=title, columns=columns))
    section.blocks.extend(_contributions(evidence))
    return section


def _path(frame: pd.DataFrame, path: str) -> list[Markup]:
    steps = frame[frame["path"] >= 0].sort_values("path")
    if len(steps) < 2:
        return []
    title = "Backward elimination from the full model"
    svg = interval_plot(
        steps,
        name="ablation-path",
        title=title,
        row="method",
        value="score",
        axis="selection score, %",
        scale=100,
    )
    reading = "From top to bottom one module is removed at a time, the one that costs least; bars are intervals."
    return [figure(svg, title=title, reading=reading, sources=[path])]


def _contributions(evidence: Evidence) -> list[Markup]:
    frame, path = evidence.get("contributions"), evidence.path("contributions")
    if frame is None:
        return [absent("the modules' contributions", path, evidence.stopped)]
    title = "What the full model loses without a module"
    svg = interval_plot(
        frame,
        name="contributions",
        title=title,
        row="module",
        value="removal",
        series="measure",
        axis="points lost on selection",
        lines=[(0.0, "no loss")],
        scale=100,
    )
    reading = "A bar wholly to the right of the line means that the module helps; to the left that it harms."
    columns = [
        Show("module", "Module"),
        Show("measure", "Measure"),
        Show("removal", "Lost without it, points", "points", "low", "high"),
        Show("shapley", "Shapley value, points", "points"),
    ]
    return [
        figure(svg, title=title, reading=reading, sources=[path]),
        render_table(frame, CONTRIBUTIONS, source=path, title="Contributions of the modules", columns=columns),
    ]


_COUNTED = "Counted, the same on every machine: kept to the left of the line, broken at it or to the right."
_TIMED = (
    "A limit is kept when the whole bar lies to the left of the line, broken when the whole bar lies to the right; a "
    "bar that crosses it, or an A/A control that does not hold zero, leaves it undecided."
)


def _parser_curve(frame: pd.DataFrame, path: str) -> list[Markup]:
    """Overhead of inference over the share of captions that go to the parser."""
    points = []
    for _, row in frame[frame["measure"].str.startswith("parser_share_")].iterrows():
        name = str(row["measure"]).removeprefix("parser_share_")
        same = frame["method"].eq(row["method"]) & frame["backbone"].eq(row["backbone"])
        found = frame[same & frame["measure"].eq(f"inference_overhead_{name}")]
        if row["method"] == "vialign" and not found.empty:
            shown = SHARES[name] + f" ({100 * row['value']:.0f} %)"
            points.append(found.iloc[0].to_dict() | {"share": shown})
    if not points:
        return []
    curve = pd.DataFrame(points)
    title = "Overhead of inference over the share of captions that are parsed"
    svg = interval_plot(
        curve,
        name="budget-parser",
        title=title,
        row="share",
        value="value",
        series="backbone",
        axis="share of time beyond the frozen backbone",
        lines=[(0.0, "no overhead")],
    )
    reading = (
        "Each row hands another share of the captions to the parser; the limit holds at the share outside the domain."
    )
    return [figure(svg, title=title, reading=reading, sources=[path])]


def costs(evidence: Evidence, config: Config) -> Section:
    """The ledger, and what the chosen combination keeps of its gain at a share of its cost."""
    section = efficiency(evidence, config)
    if evidence.get("budget") is not None:
        section.blocks.extend(spending(evidence))
    return section


def efficiency(evidence: Evidence, config: Config) -> Section:
    """The ledger: cost of every method, with the limits of the budget and whether they are kept."""
    section = Section("efficiency", "Efficiency")
    frame, path = evidence.get("budget"), evidence.path("budget")
    if frame is None:
        section.blocks.append(absent("the ledger", path, evidence.stopped))
        return section
    frame = by_method(config, frame)
    drawings = []
    limited = frame[frame["limit"].notna()]
    # The absolute number of parameters says what their share says, with another limit at each backbone.
    drawn = limited[limited["measure"] != "parameters_extra"]
    groups = drawn.groupby(["measure", "unit", "limit"], sort=False)
    for place, ((measure, unit, _), part) in enumerate(groups):
        title = f"{str(words(measure)).capitalize()} against its limit"
        svg = interval_plot(
            part,
            name=f"budget-{place}",
            title=title,
            row="method",
            value="value",
            series="backbone",
            axis=f"{words(measure)}, {unit}",
            lines=[(float(part["limit"].iloc[0]), "limit")],
        )
        counted = part["low"].isna().all()
        reading = _COUNTED if counted else _TIMED
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    section.blocks.append(gallery(drawings))
    columns = [
        Show("method", "Method"),
        Show("backbone", "At the size of"),
        Show("measure", "Measure"),
        Show("outcome", "Outcome"),
        Show("value", "Value", "number", "low", "high"),
        Show("limit", "Limit", "number"),
        Show("unit", "Unit"),
        Show("reason", "Undecided because", "prose"),
    ]
    section.blocks.append(render_table(limited, BUDGET, source=path, title="Budget constraints", columns=columns))
    section.blocks.extend(_parser_curve(frame, path))
    full = render_table(frame, BUDGET, source=path, title="Ledger", columns=columns, limit=300)
    section.blocks.append(folded("The whole ledger", full))
    return section
