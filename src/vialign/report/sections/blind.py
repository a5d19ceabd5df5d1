"""What text alone gives away: which benchmarks a classifier solves that never sees an image."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.names import PAIRS
from vialign.report.blocks import absent, bullets, folded, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite, cite_config, cite_interval
from vialign.report.tables import Show, render_table
from vialign.tables.evaluation import BLIND


def solved_blind(evidence: Evidence, config: Config) -> list[Markup]:
    """One sentence a benchmark that the blind baseline solves or is misled on, and every value of it, folded."""
    frame, path = evidence.get("blind"), evidence.path("blind")
    if frame is None:
        return [absent("the blind baseline", path, evidence.stopped)]
    intro = paragraph(
        "A classifier that sees no image, fitted on the words of the training captions and of their rule-made "
        "negatives, answered the same benchmarks. One counts as solved blind where the whole interval lies more than "
        "{} points above chance. Whatever it does not solve may still fall to a stronger reader.",
        cite_config(config, "evaluation.blind_margin", "percent"),
    )
    # The captions of such an item are both true of one image, so text alone always scores nothing there.
    honest = ~frame["benchmark"].str.rpartition("/")[2].isin(PAIRS)
    misled = honest & (frame["high"] < frame["chance"] - config.evaluation.blind_margin)
    found = [
        *_sentences(frame[frame["solved"]], "scores on it may come from the words and not from the image"),
        *_sentences(frame[misled], "its words mislead whoever trusts the training captions"),
    ]
    columns = [
        Show("benchmark", "Benchmark"),
        Show("solved", "Solved blind", "flag"),
        Show("accuracy", "Text alone, %", "percent", "low", "high"),
        Show("chance", "Chance, %", "percent"),
        Show("items", "Items", "count"),
    ]
    table = render_table(frame, BLIND, source=path, title="What text alone answers", columns=columns)
    return [
        intro,
        bullets(found) if found else paragraph("It solves none of them."),
        folded("Text alone on every benchmark", table),
    ]


def _sentences(frame: pd.DataFrame, consequence: str) -> list[Markup]:
    return [
        say(
            "<code>{}</code>: text alone scores {} %, chance is {} %; {}.",
            row["benchmark"],
            cite_interval(row, "accuracy", "percent"),
            cite(row, "chance", "percent"),
            consequence,
        )
        for _, row in frame.iterrows()
    ]
