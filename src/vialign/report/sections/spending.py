"""What the chosen combination keeps of its gain when only some pairs of a gallery get its own score."""

from markupsafe import Markup

from vialign.report.blocks import absent, figure, heading, paragraph
from vialign.report.evidence import Evidence
from vialign.report.figures import curve_plot
from vialign.report.sections.common import words
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import SPENDING


def spending(evidence: Evidence) -> list[Markup]:
    """A curve a rule, and the table behind it."""
    table, path = evidence.get("spending"), evidence.path("spending")
    title = "Where to spend"
    if table is None:
        return [heading(title), absent("the gain at a share of its cost", path, evidence.stopped)]
    shown = table.assign(direction=table["benchmark"].str.partition("/")[2].map(words))
    svg = curve_plot(
        shown,
        name="spending",
        title=title,
        x="share",
        y="kept",
        series="rule",
        facet="direction",
        axes_labels=("share of all pairs that get their own score", "share of the gain kept, %"),
        lines=[(0.95, "95 % of the gain")],
        scale=100,
    )
    reading = (
        "A query is answered from the method's scores of some candidates, and from the frozen cosine behind them. "
        "`margin` spends on the pairs nearest to the best of their query, so that decided queries cost little; `top` "
        "on the first candidates of every query alike; `random` shows what the same budget is worth without a cheap "
        "score."
    )
    columns = [
        Show("benchmark", "Benchmark"),
        Show("rule", "Rule"),
        Show("share", "Share of pairs, %", "percent"),
        Show("kept", "Gain kept, %", "percent"),
        Show("loss", "R@1 lost, points", "points", "low", "high"),
        Show("p_holm", "p, Holm", "p"),
        Show("gain", "Gain of all pairs, points", "points"),
    ]
    rows = render_table(table, SPENDING, source=path, title="Gain kept at a share of the cost", columns=columns)
    explained = paragraph("Measured on <code>confirmation</code>, for <code>{}</code>.", table["method"].iloc[0])
    return [heading(title), explained, figure(svg, title=title, reading=reading, sources=[path]), rows]
