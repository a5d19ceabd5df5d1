"""Retrieval against composition over published checkpoints, and the run's methods among them."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.evaluation.frontier import (
    COMPOSITION,
    RETRIEVAL,
    Frontier,
    on_frontier,
    own_points,
    read_frontier,
    tuning_costs,
)
from vialign.report.blocks import Section, bullets, figure, gallery, paragraph, say
from vialign.report.drawing import Drawing
from vialign.report.evidence import Evidence
from vialign.report.figures import point_plot
from vialign.report.numbers import derived
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import RESULTS

SOURCE = "columns and averages as in results.csv of vl_compo (github.com/ytaek-oh/vl_compo)"
PRETRAINED, EDGE, TUNED = "published", "no other is better in both", "tuned for composition"
START, OWN = "their base", "this run"
SERIES = (PRETRAINED, EDGE, TUNED, START, OWN)
DATA_SETS = {"flickr30k": "Flickr30k", "coco": "COCO 5K"}
_MEANS = {"comp_avg": "composition", "i2t_avg": "image to text R@1", "t2i_avg": "text to image R@1"}


def beside_published(evidence: Evidence, config: Config) -> Section:
    """The drawings of `vialign frontier`, with what this run measured of the same benchmarks."""
    frontier, base = read_frontier(Path(str(config.report.frontier))), config.report.frontier_base
    results = evidence.get("results")
    own = own_points(RESULTS.empty() if results is None else results, config.data.dataset, config.evaluation.splits[0])
    blocks = [*summary(frontier, base), *benchmarks(frontier, base, own)]
    return Section("frontier", "Beside published checkpoints", blocks)


def summary(frontier: Frontier, base: str) -> list[Markup]:
    """One drawing and a few sentences: where checkpoints lie, and where tuning for composition takes them."""
    rows = frontier.table.assign(retrieval=frontier.table[["i2t_avg", "t2i_avg"]].mean(axis=1))
    title = "Composition against retrieval"
    labels = ("R@1, mean of COCO and Flickr30k, percent", "compositional benchmarks, mean, percent")
    drawing = _drawing(rows, base, name="frontier-averages", title=title, x="retrieval", y="comp_avg", labels=labels)
    said = paragraph(
        "{} published checkpoints: {} (<code>{}</code>). Lines lead from <em>{}</em> to what was tuned from it for "
        "composition. Tuning usually gains:",
        derived(len(rows), "rows of the file", frontier.path.name),
        SOURCE,
        frontier.path.name,
        base,
    )
    reading = "A point to the right retrieves better, a point higher up tells combinations apart better."
    return [said, bullets(_usual(frontier, base)), _figure(drawing, title, reading, frontier)]


def _usual(frontier: Frontier, base: str) -> list[Markup]:
    """One line a mean of benchmarks: the median difference, and how many checkpoints lost."""
    costs, name = tuning_costs(frontier, base), frontier.path.name
    known = {column: costs[column].dropna() for column in _MEANS}
    return [
        say(
            "{}: {} points in the median, with a loss in {} of {}.",
            what,
            derived(float(known[column].median()) / 100, f"median of {column} less that of {base}", name, "points"),
            derived(int((known[column] < 0).sum()), f"differences of {column} below zero", name),
            derived(len(known[column]), "tuned checkpoints", name),
        )
        for column, what in _MEANS.items()
        if len(known[column])
    ]


def tuning(frontier: Frontier, base: str) -> list[Markup]:
    """Differences of every tuned checkpoint from its base."""
    costs = tuning_costs(frontier, base)
    if costs.empty:
        return [paragraph("The file has no checkpoint whose tag says that it was tuned.")]
    table = render_table(
        costs.sort_values("comp_avg", ascending=False).assign(**{name: costs[name] / 100 for name in _MEANS}),
        None,
        source=frontier.path.name,
        title="Tuned checkpoints less their base, in points",
        columns=[Show("model", "Checkpoint", "prose"), *(Show(name, what, "points") for name, what in _MEANS.items())],
        derived=f"less the row {base}",
    )
    note = paragraph(
        "The file does not say what a checkpoint was tuned from; <em>{}</em> is taken for all of them. It has no "
        "intervals. Checkpoints whose tag is <code>coco-ft</code> were tuned on captions of COCO, which half of the "
        "retrieval means are about, so what tuning for composition alone costs is seen best in the others.",
        base,
    )
    return [note, table]


def benchmarks(frontier: Frontier, base: str, own: pd.DataFrame | None) -> list[Markup]:
    """Each data set of retrieval against each compositional benchmark that a run measures too."""
    drawings, joined = [], 0
    for data, pair in RETRIEVAL.items():
        for column, what in COMPOSITION.items():
            if column not in frontier.table:
                continue
            points = frontier.table
            if own is not None and len(own):
                points = pd.concat([points, own.assign(family=OWN, tuned=False)], ignore_index=True)
            points = points.assign(retrieval=points[list(pair)].mean(axis=1, skipna=False))
            drawn = points.dropna(subset=["retrieval", column])
            if drawn.empty:
                continue
            joined += int((drawn["family"] == OWN).sum())
            title = f"{DATA_SETS[data]} against {column}"
            labels = (f"{DATA_SETS[data]} R@1, mean of both ways, percent", f"{what}, percent")
            name = f"frontier-{data}-{column}"
            drawing = _drawing(points, base, name=name, title=title, x="retrieval", y=column, labels=labels)
            drawings.append(_figure(drawing, title, "Lines lead from the base to what was tuned from it.", frontier))
    told = (
        "The methods of the run are drawn among them."
        if joined
        else "No method of a run is drawn: none was given, or it was not measured on Flickr30k or COCO together with "
        "one of these benchmarks, so nothing of it can be compared."
    )
    return [paragraph("{}", told), gallery(drawings)]


def checkpoints(frontier: Frontier) -> Markup:
    """Every row of the file."""
    return render_table(
        frontier.table.sort_values("comp_avg", ascending=False),
        None,
        source=frontier.path.name,
        title="Published checkpoints, percent",
        columns=[
            Show("model", "Checkpoint", "prose"),
            *(Show(name, what, "number") for name, what in _MEANS.items()),
            *(Show(name, name.replace("_", " "), "number") for name in frontier.benchmarks),
        ],
        derived=SOURCE,
        limit=1000,
    )


def _drawing(
    rows: pd.DataFrame, base: str, *, name: str, title: str, x: str, y: str, labels: tuple[str, str]
) -> Drawing:
    """The points of two columns; rows without both are left out."""
    rows = rows.dropna(subset=[x, y])
    series = pd.Series(PRETRAINED, index=rows.index).mask(on_frontier(rows, x, y), EDGE)
    series = series.mask(rows["tuned"].astype(bool), TUNED).mask(rows["model"] == base, START)
    found = rows.loc[rows["model"] == base, [x, y]].to_numpy(float)
    return point_plot(
        rows.assign(series=series.mask(rows["family"] == OWN, OWN)),
        name=name,
        title=title,
        x=x,
        y=y,
        series="series",
        labels=labels,
        order=SERIES,
        start=(float(found[0, 0]), float(found[0, 1])) if len(found) else None,
        moved=TUNED,
    )


def _figure(drawing: Drawing, title: str, reading: str, frontier: Frontier) -> Markup:
    return figure(drawing, title=title, reading=reading, sources=[frontier.path.name])
