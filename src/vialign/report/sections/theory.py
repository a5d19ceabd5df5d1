"""C against known mutual information: what the theory note claims, in worlds where it can be checked."""

import re
from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import Line, curve_plot
from vialign.report.numbers import cite_interval
from vialign.report.tables import Show, render_table
from vialign.tables.theory import THEORY, THEORY_TRENDS


def theory(evidence: Evidence, config: Config) -> Section:
    """C beside known mutual information, where it follows and where it misleads, and the bounds under their ceiling."""
    section = Section("theory", "Theory: C against known mutual information", [paragraph(_QUESTION)])
    table, trends = evidence.get("theory"), evidence.get("theory_trends")
    if table is None or trends is None:
        section.blocks.append(absent("the worlds", evidence.path("theory"), evidence.stopped))
        return section
    section.blocks.append(bullets(_worlds(trends)))
    section.blocks.append(gallery(_figures(table, evidence.path("theory"))))
    section.blocks.extend(_tables(table, trends, evidence))
    return section


_QUESTION = (
    "Does C say how much of an image its caption tells? On real data nobody knows that amount. Here are worlds in "
    "which mutual information is known exactly, and C is computed in them by the same code as everywhere. They prove "
    "nothing about photographs: they show when the idea works and when it misleads. The reasoning and its limits stand "
    "in <code>docs/theory.md</code>."
)

MEANINGS = {
    "gaussian": "each phrase correlates with one part of the image, and both similarities grow with information. "
    "Agreement follows; C first falls, since similarities that know nothing agree as well.",
    "shared noise": "the same, but some images resemble any caption, in both similarities alike. C misleads: two looks "
    "that make the same mistakes agree, and C is high without any information.",
    "combination": "two objects and their relation, which captions get wrong at times; only the local similarity reads "
    "the relation. The global one is sure of every pair, so C is what the local one adds, and follows.",
    "blind": "the same, but no phrase asks for the relation. C misleads: it is higher than in the world before, and "
    "nothing that captions get wrong about the relation reaches it.",
}
"""What a world is and what happens in it, as sentences after its name."""

Curves = dict[tuple[str, str], str]
"""World and measure of each curve, and its name in the figure."""


def _worlds(trends: pd.DataFrame) -> list[Markup]:
    """A line a world: what it is, and how C and agreement move with information in it."""
    rows = {(row["world"], row["measure"]): row for _, row in trends.iterrows()}
    return [
        say(
            "<strong>{}</strong>: {} Rank correlation with information: C {}, agreement {}.",
            world,
            meaning,
            cite_interval(rows[world, "consistency"], "correlation", "fraction"),
            cite_interval(rows[world, "agreement"], "correlation", "fraction"),
        )
        for world, meaning in MEANINGS.items()
        if (world, "consistency") in rows
    ]


def _figures(table: pd.DataFrame, path: str) -> list[Markup]:
    ceiling = table.loc[table["measure"] == "infonce ceiling", "value"]

    def draw(title: str, label: str, curves: Curves, reading: str, lines: Sequence[Line] = ()) -> Markup:
        places = pd.Series(zip(table["world"], table["measure"], strict=True), index=table.index)
        svg = curve_plot(
            table.assign(series=places.map(curves)).dropna(subset=["series"]),
            name="theory-" + re.sub("[^a-z]+", "-", title.lower()),
            title=title,
            x="mutual_information",
            y="value",
            low="low",
            high="high",
            series="series",
            order=list(curves.values()),
            axes_labels=("mutual information, nats", label),
            lines=lines,
        )
        return figure(svg, title=title, reading=f"{reading} Shaded: interval over drawings.", sources=[path])

    return [
        draw(
            "C of Gaussian parts",
            "mean C",
            {
                ("gaussian", "consistency"): "gaussian",
                ("gaussian", "consistency random"): "random captions",
                ("shared noise", "consistency"): "shared noise",
            },
            "A useful signal climbs from left to right. C dips before it climbs, and is about as high for random "
            "captions; with shared noise it is high without any information.",
        ),
        draw(
            "Agreement of Gaussian parts",
            "mean agreement",
            {
                ("gaussian", "agreement"): "gaussian",
                ("gaussian", "agreement random"): "random captions",
                ("shared noise", "agreement"): "shared noise",
            },
            "The product of both similarities climbs all the way and stays low for random captions; shared noise makes "
            "it climb less.",
        ),
        draw(
            "C of two objects and their relation",
            "mean C",
            {
                ("combination", "consistency"): "combination",
                ("combination", "consistency random"): "random captions",
                ("blind", "consistency"): "blind",
            },
            "To the right captions get the relation right more often, and nothing else changes. C climbs where a "
            "phrase asks for the relation; where none does, it is highest and flat.",
        ),
        draw(
            "Aligned against wrong captions",
            "AUC",
            {
                ("combination", "consistency auc exchanged"): "C, roles exchanged",
                ("blind", "consistency auc exchanged"): "C, roles, blind",
                ("combination", "consistency auc random"): "C, random captions",
                ("combination", "agreement auc random"): "agreement, random",
            },
            "Above chance the aligned pair has the higher value. C tells exchanged roles once captions name them, and "
            "fails on random captions, which both similarities refuse; agreement does not.",
            [(0.5, "chance")],
        ),
        draw(
            "InfoNCE bounds and their ceiling",
            "bound, nats",
            {
                ("gaussian", "infonce"): "best critic",
                ("gaussian", "infonce s_local"): "S local",
                ("gaussian", "infonce s_global"): "S global",
            },
            "Information that a critic can show in one batch. Not even the best one passes the log of the batch, and "
            "the pooled embeddings show less than the parts.",
            [(float(ceiling.iloc[0]), "log of the batch")] if len(ceiling) else [],
        ),
    ]


def _tables(table: pd.DataFrame, trends: pd.DataFrame, evidence: Evidence) -> list[Markup]:
    world, measure, seeds = Show("world", "World"), Show("measure", "Measure"), Show("seeds", "Drawings", "count")
    moves = [
        world,
        measure,
        Show("correlation", "Rank correlation with information", "fraction", "low", "high"),
        Show("change", "Change from least to most", "fraction", "change_low", "change_high"),
        seeds,
    ]
    values = [
        world,
        Show("mutual_information", "Information, nats", "fraction"),
        measure,
        Show("value", "Value", "fraction", "low", "high"),
        Show("parameter", "Correlation or error", "fraction"),
    ]
    path, trends_path = evidence.path("theory"), evidence.path("theory_trends")
    how = render_table(trends, THEORY_TRENDS, source=trends_path, title="Measures by world", columns=moves)
    every = render_table(
        table, THEORY, source=path, title="Values by world and level", columns=values, limit=len(table)
    )
    return [folded("How every measure moves with information", how), folded("Every value with its interval", every)]
