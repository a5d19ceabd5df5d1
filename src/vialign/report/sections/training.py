"""How training went: the checks on the way, the losses, and the search for a learning rate."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, figure, gallery, heading, paragraph
from vialign.report.evidence import Evidence
from vialign.report.figures import curve_plot
from vialign.report.sections.common import by_method, method_order
from vialign.report.tables import Show, render_table
from vialign.tables.training import MONITOR, SEARCH


def training(evidence: Evidence, config: Config) -> Section:
    """Selection curves and losses."""
    section = Section("training", "Training")
    name = "monitor" if evidence.get("monitor") is not None else "early_monitor"
    monitor, path = evidence.get(name), evidence.path(name)
    if monitor is None:
        section.blocks.append(absent("the selection checks", path, evidence.stopped))
        return section
    monitor, order = by_method(config, monitor), method_order(config, monitor)
    drawings = []
    for column, label in (("recall", "R@1, mean of both directions"), ("negatives", "accuracy against negatives")):
        if monitor[column].isna().all():
            continue
        title = f"Selection: {label}"
        svg = curve_plot(
            monitor,
            name=f"training-{column}",
            title=title,
            x="step",
            y=column,
            series="method",
            order=order,
            repeat="seed",
            axes_labels=("optimiser step", f"{label}, %"),
            scale=100,
        )
        reading = "The thick line is the mean over seeds; the thin lines are the seeds, and show how far they differ."
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    loss = _loss(evidence, config, order, "log" if name == "monitor" else "early_log")
    section.blocks.append(gallery([*drawings, *loss]))
    last = monitor.sort_values("step").groupby(["method", "seed"], sort=False).tail(1)
    columns = [
        Show("method", "Method"),
        Show("seed", "Seed"),
        Show("step", "Step", "count"),
        Show("recall", "R@1, %", "percent"),
        Show("negatives", "Against negatives, %", "percent"),
        Show("consistency_mean", "Mean C", "fraction"),
        Show("consistency_sd", "Spread of C", "fraction"),
    ]
    last = by_method(config, last.sort_values("seed"))
    section.blocks.append(render_table(last, MONITOR, source=path, title="Last check", columns=columns))
    section.blocks.extend(_search(evidence, config))
    return section


def _search(evidence: Evidence, config: Config) -> list[Markup]:
    """The candidates of every method's learning rate, and what selection said of them."""
    frame, path = evidence.get("search"), evidence.path("search")
    if frame is None:
        return []
    columns = [
        Show("method", "Method"),
        Show("learning_rate", "Peak rate", "number"),
        Show("chosen", "Chosen", "flag"),
        Show("score", "Score, %", "percent"),
        Show("recall", "R@1, %", "percent"),
        Show("negatives", "Against negatives, %", "percent"),
        Show("steps", "Steps", "count"),
    ]
    title = "Search for the learning rate"
    table = render_table(by_method(config, frame), SEARCH, source=path, title=title, columns=columns)
    return [
        heading(title, 4),
        paragraph(
            "Every trained method has the same candidates around its own rate, the same steps and one seed; while the "
            "best is at the edge, further ones are tried beyond it, at most {}. What it scores on selection after them "
            "decides: the mean of recall and accuracy against negatives, or recall alone where no negatives are used.",
            config.training.search.widen,
        ),
        table,
        *_edges(best_at_edge(by_method(config, frame))),
    ]


def best_at_edge(table: pd.DataFrame) -> list[str]:
    """Methods of SEARCH whose chosen rate has no candidate on one side: a better one may lie beyond.

    A candidate that diverged bounds the grid like any other. One rate alone was not searched for, and is left out.
    """
    searched = table.groupby("method")["learning_rate"].agg(["min", "max"])
    chosen = table[table["chosen"]].set_index("method")["learning_rate"]
    ends = searched.loc[chosen.index]
    edge = (ends["min"] < ends["max"]) & ((chosen == ends["min"]) | (chosen == ends["max"]))
    return sorted(edge.index[edge])


def _edges(methods: list[str]) -> list[Markup]:
    """Which rates may not be the best that there are."""
    if not methods:
        return []
    return [
        paragraph(
            "The best rate still stands at the edge of its candidates for {}: a better one may lie beyond, and what is "
            "said of these methods is said of the rate found. A larger training.search.widen tries further ones.",
            ", ".join(methods),
        )
    ]


def _loss(evidence: Evidence, config: Config, order: list[str], name: str) -> list[Markup]:
    """Mean loss of up to forty stretches of training."""
    log, path = evidence.get(name), evidence.path(name)
    if log is None:
        return []
    width = max(1, -(-int(log["step"].max()) // 40))
    stretch = (log["step"] - 1) // width * width + (width + 1) / 2
    means = log.assign(stretch=stretch).groupby(["method", "seed", "stretch"])["loss"].mean().reset_index()
    svg = curve_plot(
        by_method(config, means),
        name="training-loss",
        title="Training loss",
        x="stretch",
        y="loss",
        series="method",
        order=order,
        repeat="seed",
        axes_labels=("optimiser step", "total loss, mean of a stretch"),
    )
    reading = "Losses of different methods hold different terms: compare shapes, not heights. Thin lines are seeds."
    return [figure(svg, title="Training loss", reading=reading, sources=[path])]
