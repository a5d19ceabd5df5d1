"""The page of C at work in training: noisy captions, curriculum in time, and few labelled images."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vialign.analysis.attribution.names import FROZEN
from vialign.analysis.uses.names import (
    ALL_AT_ONCE,
    ALL_LABELLED,
    AT_RANDOM,
    CHOICES,
    CLEAN_CAPTIONS,
    DOUBT,
    PLAIN,
    SMALL_LOSS,
    WEIGHTS,
    labelled_title,
)
from vialign.config.experiment import Config
from vialign.files.artifacts import write_text
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, paragraph, say
from vialign.report.build import render_page, with_links
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.figures import curve_plot, interval_plot
from vialign.report.numbers import cite, cite_config, cite_interval
from vialign.report.sections import provenance
from vialign.report.sections.common import MEASURE_NAMES, words
from vialign.report.tables import Show, render_table
from vialign.stage import Run
from vialign.tables.uses import USES

GOAL = 0.5
"""Share of what the noise costs that a rule should win back."""


def build_uses(run: Run) -> None:
    """Write the page. Raises UserError when a table is broken."""
    config, output = run.config, Path(run.output[0])
    evidence = read_evidence(run.results, config)
    sections = [
        noise(evidence, config),
        order(evidence, config),
        labels(evidence, config),
        provenance(evidence, config),
    ]
    page = render_page(f"{config.title}: C at work in training", "vialign uses of C", sections, run.provenance)
    write_text(with_links(page, run.results, output), output)


def noise(evidence: Evidence, config: Config) -> Section:
    """What wrong captions cost, and how much of it each rule wins back."""

    def blocks(table: pd.DataFrame, path: str) -> list[Markup]:
        told = paragraph(
            "A share of the training captions is made wrong: they change places at random, or give way to one of "
            "their rule-made negatives (hard). The head alone, <code>{}</code>, is then trained with every pair "
            "counting the same, with pairs weighed by a signal of the untrained method ({} is the sign of the "
            "method's own reweighting), or with as many pairs left out of each batch as there are wrong ones: those "
            "with the lowest signal, or with the highest loss ({}). Rules that leave out are told the share.",
            table["method"].iloc[0],
            DOUBT,
            SMALL_LOSS,
        )
        rules = table[table["recovered"].notna()]
        drawn = gallery(_against(rules, path, "noise", "points above every pair counting the same"))
        return [told, bullets(_noise_said(table, config)), drawn]

    missing = "trainings with noisy captions"
    return _section(evidence, "noise", "Noisy captions", "use_noise", missing, blocks)


def order(evidence: Evidence, config: Config) -> Section:
    """Whether an order by C learns faster than a drawn one."""

    def blocks(table: pd.DataFrame, path: str) -> list[Markup]:
        told = paragraph(
            "The captions of <code>{}</code> join its training one after another, in the order of a signal of the "
            "untrained method. <em>{}</em> joins as fast in an order that is drawn, so that the signal alone parts "
            "them; <em>{}</em> is the training as shipped. The measure is the area under the learning curve: the mean "
            "over evenly spread looks.",
            table["method"].iloc[0],
            AT_RANDOM,
            ALL_AT_ONCE,
        )
        said = bullets(_said(table, config, "learns faster than a drawn one", "learns more slowly"))
        drawn = _against(table, path, "order", f"points of area above {AT_RANDOM}")
        return [told, said, gallery([*_curves(evidence), *drawn])]

    missing = "trainings whose captions join in an order"
    return _section(evidence, "order", "Curriculum in time", "use_order", missing, blocks)


def labels(evidence: Evidence, config: Config) -> Section:
    """How many labelled images the dictionary needs."""

    def blocks(table: pd.DataFrame, path: str) -> list[Markup]:
        told = paragraph(
            "Every training seed has a dictionary of its own, which is told the boxes of so many images, drawn by the "
            "seed, and sees all others without theirs; {} means those of all {} images that it is fitted on. "
            "<code>{}</code> is then trained on what the dictionary gives. So these intervals hold how far "
            "dictionaries differ; those of other comparisons are for the one dictionary of the run.",
            ALL_LABELLED,
            cite_config(config, "visual.images", "count"),
            table["method"].iloc[0],
        )
        gains, costs = table[table["reference"] == FROZEN], table[table["reference"] != FROZEN]
        said = bullets([*_said(costs, config, "better", "worse"), *_fewest(costs, config)])
        gained = gallery(_against(gains, path, "label-gains", "points above the frozen backbone"))
        lost = gallery(_against(costs, path, "labels", "points above all labelled images"))
        return [told, said, gained, lost]

    missing = "dictionaries of fewer labelled images"
    return _section(evidence, "labels", "How few labels", "use_labels", missing, blocks)


def _section(
    evidence: Evidence,
    anchor: str,
    title: str,
    source: str,
    missing: str,
    blocks: Callable[[pd.DataFrame, str], list[Markup]],
) -> Section:
    """What `blocks` makes of the table and its path, and the whole table folded; or that it is missing."""
    table, path = evidence.get(source), evidence.path(source)
    if table is None:
        return Section(anchor, title, [absent(missing, path, evidence.stopped)])
    return Section(anchor, title, [*blocks(table, path), folded("Every row", _table(table, path, title))])


def _noise_said(table: pd.DataFrame, config: Config) -> list[Markup]:
    """A line a condition and direction of retrieval: the cost of the noise, and the rule that wins back most of it."""
    lines = []
    retrieval = table[table["measure"] == "r1"]
    for (condition, benchmark), part in retrieval.groupby(["condition", "benchmark"], sort=False):
        cost, rules = part[part["reference"] == CLEAN_CAPTIONS], part[part["recovered"].notna()]
        if cost.empty:
            continue
        where = say("<strong>{}, {}</strong>", condition, words(str(benchmark).partition("/")[2]))
        lost = cite_interval(cost.iloc[0], "difference", "points")
        if rules.empty:
            lines.append(say("{}: {} points against clean captions, so there is nothing to win back.", where, lost))
            continue
        best = rules.iloc[int(rules["difference"].argmax())]
        sure = best["p_holm"] < config.evaluation.level and best["difference"] > 0
        reached = "reached" if sure and best["recovered"] >= GOAL else "missed"
        rivals = part[(part["rule"] == best["rule"]) & ~part["reference"].isin([PLAIN, CLEAN_CAPTIONS])]
        beside = Markup("").join(
            say(
                " Against the same by S_global alone: {} points, p {}.",
                cite_interval(row, "difference", "points"),
                cite(row, "p_holm", "p"),
            )
            for _, row in rivals.iterrows()
        )
        lines.append(
            say(
                "{}: {} points against clean captions; the best rule, <em>{}</em>, wins back {} % ({} points, p {} "
                "after Holm's correction). The goal of half is {}.{}",
                where,
                lost,
                best["rule"],
                cite(best, "recovered", "percent"),
                cite_interval(best, "difference", "points"),
                cite(best, "p_holm", "p"),
                reached,
                beside,
            )
        )
    return [*lines, *_by_consistency(retrieval, config)]


def _by_consistency(retrieval: pd.DataFrame, config: Config) -> list[Markup]:
    """A line a rule that reads C: in how many conditions and directions it reaches the goal."""
    lines = []
    for rule in (WEIGHTS["C"], WEIGHTS[DOUBT], CHOICES["C"]):
        own = retrieval[(retrieval["rule"] == rule) & retrieval["recovered"].notna()]
        if own.empty:
            continue
        sure = (own["p_holm"] < config.evaluation.level) & (own["difference"] > 0) & (own["recovered"] >= GOAL)
        least, most = (own.iloc[int(place)] for place in (own["recovered"].argmin(), own["recovered"].argmax()))
        lines.append(
            say(
                "<strong>By C itself</strong>, <em>{}</em>: reaches the goal in {} of {}; from {} to {} %.",
                rule,
                int(sure.sum()),
                len(own),
                cite(least, "recovered", "percent"),
                cite(most, "recovered", "percent"),
            )
        )
    return lines


def _said(table: pd.DataFrame, config: Config, better: str, worse: str) -> list[Markup]:
    """A line a rule: on how many measures it is surely above its reference, and below."""
    lines = []
    for rule, part in table.groupby("rule", sort=False):
        sure = part[part["p_holm"] < config.evaluation.level]
        above, below = int((sure["difference"] > 0).sum()), int((sure["difference"] < 0).sum())
        lines.append(
            say(
                "<strong>{}</strong>: significantly {} on {} of {} measures, significantly {} on {}.",
                rule,
                better,
                above,
                len(part),
                worse,
                below,
            )
        )
    return lines


def _fewest(costs: pd.DataFrame, config: Config) -> list[Markup]:
    """The fewest labelled images that are significantly worse on nothing."""
    worse = (costs["p_holm"] < config.evaluation.level) & (costs["difference"] < 0)
    enough = [count for count in sorted(config.uses.labels) if not worse[costs["rule"] == labelled_title(count)].any()]
    if not enough:
        return [say("<strong>Fewest</strong>: every smaller number costs something significant.")]
    told = config.visual.labelled
    used = "all" if told is None else cite_config(config, "visual.labelled", "count")
    return [
        say(
            "<strong>Fewest</strong>: {} labelled images are significantly worse than all on nothing. The rest of this "
            "run is told {}.",
            enough[0],
            used,
        )
    ]


def _against(table: pd.DataFrame, path: str, name: str, axis: str) -> list[Markup]:
    drawings = []
    for (benchmark, measure), part in table.groupby(["benchmark", "measure"], sort=False):
        title = _title(str(benchmark), str(measure))
        svg = interval_plot(
            part,
            name=f"{name}-{benchmark}-{measure}".replace("/", "-").replace("_", "-"),
            title=title,
            row="rule",
            value="difference",
            **({"series": "condition"} if part["condition"].nunique() > 1 else {}),
            axis=axis,
            lines=[(0.0, "no difference")],
            scale=100,
        )
        reading = "A bar wholly to the right of the line is a gain, wholly to the left a loss."
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    return drawings


def _curves(evidence: Evidence) -> list[Markup]:
    frame, path = evidence.get("curves"), evidence.path("curves")
    if frame is None:
        return [absent("the learning curves", path, evidence.stopped)]
    drawings = []
    for (benchmark, measure), part in frame.groupby(["benchmark", "measure"], sort=False):
        means = part.groupby(["order", "step"], sort=False)["value"].agg(["mean", "min", "max"]).reset_index()
        title = f"Learning curve: {_title(str(benchmark), str(measure))}"
        svg = curve_plot(
            means,
            name=f"curve-{benchmark}-{measure}".replace("/", "-").replace("_", "-"),
            title=title,
            x="step",
            y="mean",
            low="min",
            high="max",
            series="order",
            axes_labels=("steps", f"{MEASURE_NAMES.get(str(measure), words(measure))}, %"),
            scale=100,
        )
        reading = "The higher earlier, the faster it learns. Shaded: from the lowest to the highest seed."
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    return drawings


def _title(benchmark: str, measure: str) -> str:
    return f"{words(benchmark.partition('/')[2])}, {MEASURE_NAMES.get(measure, words(measure))}"


def _table(frame: pd.DataFrame, path: str, title: str) -> Markup:
    columns = [
        Show("condition", "Wrong captions"),
        Show("rule", "What was tried"),
        Show("reference", "Against"),
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("value", "Value, %", "percent"),
        Show("difference", "Difference, points", "points", "low", "high"),
        Show("p_holm", "p, Holm", "p"),
        *([Show("recovered", "Won back, %", "percent")] if frame["recovered"].notna().any() else []),
        Show("seeds", "Seeds", "count"),
        Show("steps", "Steps", "count"),
        Show("items", "Items", "count"),
    ]
    return render_table(frame, USES, source=path, title=title, columns=columns, limit=2000)
