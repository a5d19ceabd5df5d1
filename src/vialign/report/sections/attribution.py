"""What carries the gain: the method trained again with its driver, or its local part, replaced."""

import pandas as pd
from markupsafe import Markup

from vialign.analysis.attribution.names import DRIVER, FROZEN, MEANINGS, SHIPPED
from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.numbers import cite, quote
from vialign.report.sections.common import words
from vialign.report.tables import Show, render_table
from vialign.tables.attribution import ATTRIBUTION, CARRIERS


def attribution(evidence: Evidence, config: Config) -> Section:
    """What every replacement costs, a figure a measure, and which claims about the gain hold."""
    section = Section("attribution", "What carries the gain")
    table, path = evidence.get("attribution"), evidence.path("attribution")
    if table is None:
        section.blocks.append(absent("the attribution", path, evidence.stopped))
        return section
    section.blocks.append(
        paragraph(
            "The method is trained again with one thing replaced and everything else as it was: data, batches, initial "
            "values, steps. What is lost then, that thing carried. The driver tells the modules how much to do; it is "
            "replaced by things that cannot know ({}, {}, {}), by simpler signals, and by an oracle that is told "
            "the answer. The local part is replaced by less than it is. All of it is measured on the split "
            "<code>confirmation</code>, on which nothing was chosen.",
            MEANINGS["constant"],
            MEANINGS["shuffled"],
            MEANINGS["noise"],
        )
    )
    for method, own in table.groupby("method", sort=False):
        section.blocks.append(heading(f"{method}, {int(own['steps'].max())} steps, {int(own['seeds'].max())} seeds"))
        section.blocks.extend(_claims(evidence, str(method)))
        section.blocks.append(gallery(_figures(own, str(method), path)))
    section.blocks.append(_meanings(table))
    columns = [
        Show("method", "Method"),
        Show("part", "Part"),
        Show("replacement", "In its place"),
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("value", "Value, %", "percent"),
        Show("shipped", "As shipped, %", "percent"),
        Show("cost", "Cost, points", "points", "low", "high"),
        Show("p_holm", "p, Holm", "p"),
        Show("gain", "Gain over frozen, points", "points"),
        Show("items", "Items", "count"),
    ]
    rows = render_table(table, ATTRIBUTION, source=path, title="Every replacement", columns=columns, limit=2000)
    section.blocks.append(folded("What every replacement costs, on every measure", rows))
    return section


def _claims(evidence: Evidence, method: str) -> list[Markup]:
    found, path = evidence.get("carriers"), evidence.path("carriers")
    if found is None:
        return []
    own = found[found["method"] == method]
    columns = [
        Show("claim", "Said to carry the gain"),
        Show("holds", "Shown", "flag"),
        Show("share", "Share of the gain lost without it, %", "percent"),
        Show("reason", "Evidence"),
    ]
    return [render_table(own, CARRIERS, source=path, title=f"What carries the gain of {method}", columns=columns)]


def _figures(own: pd.DataFrame, method: str, path: str) -> list[Markup]:
    drawings = []
    shown = own.assign(cost=-own["cost"], low=-own["high"], high=-own["low"])
    for (benchmark, measure), part in shown.groupby(["benchmark", "measure"], sort=False):
        name = words(str(benchmark).partition("/")[2].replace("/", ", "))
        title = f"{method}: {name}, {words(measure)}"
        svg = interval_plot(
            part,
            name=f"attribution-{method}-{benchmark}-{measure}".replace("/", "-").replace("_", "-"),
            title=title,
            row="replacement",
            value="cost",
            axis="points above the method as shipped",
            lines=[(0.0, SHIPPED)],
            scale=100,
        )
        reading = (
            "Each row is the method with that in place of its driver or its local part. A bar wholly to the left of "
            f"the line lost something; {FROZEN} shows what there is to lose."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    return drawings


def _meanings(table: pd.DataFrame) -> Markup:
    there = set(table["replacement"])
    return bullets([say("<em>{}</em>: {}.", name, meaning) for name, meaning in MEANINGS.items() if name in there])


def carried(evidence: Evidence, method: str | None) -> list[Markup]:
    """What carries the gain of a method, in sentences; none where the run did not ask."""
    found = evidence.get("carriers")
    own = None if found is None else found[found["method"] == method]
    if own is None or own.empty:
        return []
    holding, sentences = own[own["holds"] & own["claim"].ne(DRIVER)], []
    driver = own[own["claim"] == DRIVER]
    if len(driver):
        row = driver.iloc[0]
        sentences.append(
            say("<strong>C carries some of it</strong>: {}.", quote(row, "reason"))
            if row["holds"]
            else say("<strong>C carries nothing of it that could be shown</strong>: {}.", quote(row, "reason"))
        )
    for _, row in holding.iterrows():
        lost = say(", {} % of the gain", cite(row, "share", "percent")) if pd.notna(row["share"]) else ""
        sentences.append(say("Lost without {}{}: {}.", row["claim"], lost, quote(row, "reason")))
    return sentences
