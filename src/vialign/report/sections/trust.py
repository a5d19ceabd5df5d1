"""When to trust an answer: which numbers tell wrong top answers from right ones, and what the local look adds."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import curve_plot, interval_plot
from vialign.report.numbers import cite, cite_interval
from vialign.report.sections.common import words
from vialign.report.tables import Show, render_table
from vialign.tables.signal import TRUST

_JUDGED = {"simple and local ranking": "the local ranking", "all": "all that looks locally"}
"""Combinations that get a sentence, and what they add to their reference."""
_REFERENCES = {
    "best simple": "the best simple confidences",
    "simple and return": "the best simple confidences with whether the answer leads back",
}
_SHUFFLED = "shuffled"
_NEAREST = ("none", "with geometry")
"""Ways of looking that a figure of single predictors holds; the others are in the tables."""
_NAMES = {
    "similarity": "largest similarity",
    "margin": "margin of the first two",
    "probability": "softmax maximum",
    "entropy": "softmax entropy",
    "consistency": "C",
    "agreement": "agreement",
    "local_entropy": "H local",
    "local_rank": "local rank of the answer",
    "local_gap": "gap to the local best",
    "fused_odds": "odds by both looks",
    "return_odds": "odds that the answer leads back",
    "fused_return": "the same by both looks",
    "simple": "all simple confidences",
    "best simple": "best simple confidences",
    "simple and return": "simple with leading back",
    "simple and signal": "simple with C, agreement, H local",
    "simple and local ranking": "simple with local ranking",
    "all": "all together",
}
"""What a predictor is called in figures; tables keep the name in the file."""

_INTRO = (
    "A query has a top answer, and the frozen backbone's is often wrong. Which number, known without the truth, tells "
    "when? The field's simple confidences read the scores of the gallery: the largest similarity, its margin over the "
    "second, the softmax. The captions of one image count as one candidate. A stronger rival asks whether the answer, "
    "as a query, leads back. The signal adds C, agreement and H local of the answer's own pair, and a second, local "
    "ranking of the gallery: the rank of the answer there, how far the best of that ranking lies above it, and its "
    "odds by both looks together. Several together are combined by a logistic regression; the simple confidences stand "
    "for themselves by their best combination."
)


def trust(evidence: Evidence, config: Config) -> Section:
    """What the local ranking adds in words, risk against coverage, every predictor, and every number."""
    section = Section("trust", "Trust in answers", [paragraph(_INTRO)])
    frame, path = evidence.get("trust"), evidence.path("trust")
    if frame is None:
        section.blocks.append(absent("the predictors of wrong answers", path, evidence.stopped))
        return section
    split = _shown(frame)
    section.blocks.append(bullets(_said(frame[frame["split"] == split], config)))
    section.blocks.extend(_control(frame, config))
    drawings = [*_curves(evidence, split), _predictors(frame[frame["split"] == split], path, split)]
    differences = frame[frame["difference"].notna() & (frame["predictor"] != "simple")]
    unseen = differences["fitted_on"] != differences["split"]
    differences = differences[unseen] if unseen.any() else differences
    if len(differences):
        drawings.append(_differences(differences, path))
    section.blocks.append(gallery(drawings))
    judged = frame[frame["predictor"].isin(_JUDGED) & (frame["local"] != _SHUFFLED)]
    section.blocks.append(folded("The same on every split", _table(judged, path, "What is added on every split")))
    section.blocks.append(folded("Every predictor on every split", _table(frame, path, "Predictors of wrong answers")))
    return section


def _name(row: pd.Series) -> str:
    name = _NAMES[row["predictor"]]
    return name if row["local"] in ("none", "with geometry") else f"{name}, {row['local']}"


def _shown(frame: pd.DataFrame) -> str:
    """The split of the figures: the first that nothing was fitted on, else the first."""
    read = frame[(frame["fitted_on"] != "") & (frame["fitted_on"] != frame["split"])]
    return str((read if len(read) else frame)["split"].iloc[0])


def _said(frame: pd.DataFrame, config: Config) -> list[Markup]:
    """A line a split, direction, judged combination and way of looking: what it adds to its reference."""
    plain = frame[frame["local"] == "none"]
    levels = {(row["split"], row["direction"], row["predictor"]): row for _, row in plain.iterrows()}
    judged = frame[frame["predictor"].isin(_JUDGED) & (frame["local"] != _SHUFFLED)]
    lines = []
    for _, row in judged.iterrows():
        where = say(
            "<strong>{}, {}</strong>, {} % answered wrong",
            words(row["split"]),
            words(row["direction"]),
            cite(row, "wrong", "percent"),
        )
        if pd.isna(row["difference"]):
            lines.append(say("{}: all answers are alike, so nothing can be told apart.", where))
            continue
        lines.append(
            say(
                "{}: {}, {}, <strong>{}</strong> {}. AUROC {} against {}; difference {}, p {} after Holm's "
                "correction{}.",
                where,
                _JUDGED[row["predictor"]],
                row["local"],
                _verdict(row, config),
                _REFERENCES[row["reference"]],
                cite_interval(row, "auroc", "fraction"),
                cite_interval(levels[row["split"], row["direction"], row["reference"]], "auroc", "fraction"),
                cite_interval(row, "difference", "fraction", "difference_low", "difference_high"),
                cite(row, "p_holm", "p"),
                " (cross-validated by image on the split that the others are fitted on)"
                if row["fitted_on"] == row["split"]
                else "",
            )
        )
    return lines


def _verdict(row: pd.Series, config: Config) -> str:
    if row["difference_low"] > 0 and row["p_holm"] < config.evaluation.level:
        return "adds to"
    if row["difference_high"] < 0:
        return "is worse than"
    return "is not shown to add to"


def _control(frame: pd.DataFrame, config: Config) -> list[Markup]:
    """Whether the same with the local values of other answers adds nothing, as it must."""
    rows = frame[(frame["local"] == _SHUFFLED) & frame["difference"].notna()]
    if rows.empty:
        return []
    added = rows[(rows["difference_low"] > 0) & (rows["p_holm"] < config.evaluation.level)]
    told = Markup("; ").join(
        say(
            "{} {}",
            words(row["direction"]),
            cite_interval(row, "difference", "fraction", "difference_low", "difference_high"),
        )
        for _, row in rows[rows["split"] == _shown(frame)].iterrows()
    )
    verdict = (
        "adds nothing, as it must" if added.empty else "adds something where it must not, so trust none of the above"
    )
    return [
        paragraph(
            "The control, a local ranking shuffled over the queries, {} ({}; other splits in the table).", verdict, told
        )
    ]


def _curves(evidence: Evidence, split: str) -> list[Markup]:
    frame, path = evidence.get("trust_curves"), evidence.path("trust_curves")
    if frame is None:
        return [absent("the risk-coverage curves", path, evidence.stopped)]
    order = {name: place for place, name in enumerate(("best simple", *_JUDGED, "consistency"))}
    kept = frame["predictor"].isin(order) & frame["local"].isin(_NEAREST)
    part = frame[(frame["split"] == split) & kept]
    part = part.sort_values("predictor", key=lambda names: names.map(order), kind="stable")
    return [_curve(rows, path, split, str(direction)) for direction, rows in part.groupby("direction", sort=True)]


def _curve(frame: pd.DataFrame, path: str, split: str, direction: str) -> Markup:
    title = f"Risk against coverage, {words(split)}, {words(direction)}"
    svg = curve_plot(
        frame.assign(predictor=frame["predictor"].map(_NAMES)),
        name=f"trust-curves-{direction.replace('_', '-')}",
        title=title,
        x="coverage",
        y="risk",
        low="low",
        high="high",
        series="predictor",
        axes_labels=("share of answers kept, the most trusted first", "wrong among them, %"),
        scale=100,
    )
    reading = (
        "Whoever acts on the trusted answers alone meets this share of wrong ones: the lower, the better. At the right "
        "end all answers are kept, and all curves meet. Shaded: bootstrap interval over images."
    )
    return figure(svg, title=title, reading=reading, sources=[path])


def _predictors(frame: pd.DataFrame, path: str, split: str) -> Markup:
    title = f"Telling wrong answers from right ones, {words(split)}"
    known = frame[frame["auroc"].notna() & frame["local"].isin(_NEAREST)]
    if known.empty:
        return absent("an AUROC: all answers of the split are alike", path, None)
    svg = interval_plot(
        known.assign(name=known.apply(_name, axis=1), direction=known["direction"].map(words)),
        name="trust-predictors",
        title=title,
        row="name",
        value="auroc",
        series="direction",
        axis="area under the ROC curve of predicting a wrong answer",
        lines=[(0.5, "chance")],
    )
    reading = "The further right, the better a number tells wrong answers from right ones; on the line it tells none."
    return figure(svg, title=title, reading=reading, sources=[path])


def _differences(frame: pd.DataFrame, path: str) -> Markup:
    title = "What is added to the simple confidences"
    series = frame["split"].map(words) + ", " + frame["direction"].map(words)
    svg = interval_plot(
        frame.assign(name=frame.apply(_name, axis=1), series=series),
        name="trust-differences",
        title=title,
        row="name",
        value="difference",
        low="difference_low",
        high="difference_high",
        series="series",
        axis="difference of the areas under the ROC curve",
        lines=[(0.0, "nothing added")],
    )
    reading = (
        "Right of the line a combination tells more than its reference: the best simple confidences, and for all "
        "together these with whether the answer leads back. Paired by resampled image."
    )
    return figure(svg, title=title, reading=reading, sources=[path])


def _table(frame: pd.DataFrame, path: str, title: str) -> Markup:
    columns = [
        Show("split", "Split"),
        Show("direction", "Direction"),
        Show("predictor", "Predictor"),
        Show("local", "Local look"),
        Show("fitted_on", "Fitted on"),
        Show("uses", "Made of"),
        Show("auroc", "AUROC", "fraction", "low", "high"),
        Show("reference", "Compared with"),
        Show("difference", "Difference", "fraction", "difference_low", "difference_high"),
        Show("p_value", "p", "p"),
        Show("p_holm", "p, Holm", "p"),
        Show("aurc", "AURC", "fraction", "aurc_low", "aurc_high"),
        Show("aurc_difference", "AURC difference", "fraction", "aurc_difference_low", "aurc_difference_high"),
        Show("calibration_error", "Calibration error", "fraction"),
        Show("wrong", "Wrong, %", "percent"),
        Show("queries", "Queries", "count"),
        Show("images", "Images", "count"),
    ]
    return render_table(frame, TRUST, source=path, title=title, columns=columns, limit=400)
