"""Phrase units under typos and on other kinds of text: each path alone and both mixed."""

import pandas as pd
from markupsafe import Markup

from vialign.report.blocks import figure, folded, paragraph
from vialign.report.evidence import FILE, Evidence
from vialign.report.figures import curve_plot
from vialign.report.numbers import cite, derived
from vialign.report.tables import Show, render_matrix, render_table
from vialign.tables.language import SPANS

PATH_NAMES = {"main": "main path", "fallback": "parser", "mixed": "mixed", "asked": "mixed, parser always asked"}
TOLERANCE = 0.01
"""F1 by which the mixed path may lie under the better single path."""


def span_blocks(evidence: Evidence) -> list[Markup]:
    """Figure, answer and tables of the run's own captions under typos and of the study across domains, where made."""
    blocks = []
    for name, title in (("text_spans", "Phrase units under typos"), ("text_domains", "Phrase units across domains")):
        frame = evidence.get(name)
        if frame is not None:
            blocks += _blocks(frame, name, title, evidence.path(name))
    return blocks


def _blocks(frame: pd.DataFrame, name: str, title: str, path: str) -> list[Markup]:
    frame = frame.assign(
        panel=frame["trained_on"] + " \N{RIGHTWARDS ARROW} " + frame["domain"],
        percent=100 * frame["typos"],
        called=frame["path"].map(PATH_NAMES),
    )
    total = frame[frame["kind"] == "all"]
    svg = curve_plot(
        total[total["path"] != "asked"],
        name=name.replace("_", "-"),
        title=title,
        x="percent",
        y="f1",
        low="low",
        high="high",
        series="called",
        facet="panel",
        axes_labels=("words with a typo, %", "F1 of phrase units, %"),
        order=tuple(PATH_NAMES.values()),
        scale=100,
    )
    reading = (
        "One panel shows what was learned on the first kind of text and judged on the second, with intervals over "
        "texts. The mixed path should follow the better of the two others; where it hides a curve, it does."
    )
    rows = [Show("trained_on", "Learned on"), Show("domain", "Judged on"), Show("typos", "Typos, %", "percent")]
    across = render_matrix(
        total,
        SPANS,
        source=path,
        title=f"{title}: F1 over all kinds",
        rows=rows,
        across="path",
        value=Show("f1", "F1", "fraction", "low", "high"),
    )
    columns = [
        *rows,
        Show("path", "Path"),
        Show("kind", "Kind"),
        Show("precision", "Precision", "fraction"),
        Show("recall", "Recall", "fraction"),
        Show("f1", "F1", "fraction", "low", "high"),
        Show("margin", "Over the better single path, points", "points", "margin_low", "margin_high"),
        Show("count", "Texts", "count"),
        Show("cut", "Cut at the context", "count"),
        Show("trusted", "Without the parser", "fraction"),
    ]
    every = render_table(frame, SPANS, source=path, title=f"{title}, every kind", columns=columns, limit=2000)
    return [
        figure(svg, title=title, reading=reading, sources=[path]),
        answer(total),
        folded(f"{title}: F1 of every path", across),
        folded(f"{title}, every kind", every),
    ]


def answer(total: pd.DataFrame) -> Markup:
    """Whether the mixed path keeps up with the better single path, and where it is better, in one paragraph.

    `total` holds SPANS rows over all kinds.
    """
    mixed = total[total["path"] == "mixed"].sort_values("margin", kind="stable")
    worst, best = mixed.iloc[0], mixed.iloc[-1]
    keeps = "keeps up with" if worst["margin"] >= -TOLERANCE else "falls behind"
    wins = [_wins(total[total["path"] == path]) for path in ("mixed", "asked")]
    return paragraph(
        "The mixed path {} the better single path: over all kinds its F1 lies {} points from it in the worst case ({}, "
        "{} % typos) and {} in the best ({}, {} %). It is significantly better (paired interval) in {} cases, and with "
        "the parser asked about every text in {}: to save time it does without it where the main path trusts itself.",
        keeps,
        cite(worst, "margin", "points"),
        worst["panel"],
        cite(worst, "typos", "percent"),
        cite(best, "margin", "points"),
        best["panel"],
        cite(best, "typos", "percent"),
        *wins,
    )


def _wins(part: pd.DataFrame) -> Markup:
    source = str(part[FILE].iloc[0])
    won = derived(int((part["margin_low"] > 0).sum()), "margins whose interval lies above zero", source)
    return Markup("{} of {}").format(won, derived(len(part), "cases", source))
