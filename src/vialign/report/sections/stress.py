"""How the discrimination decays under corruptions, attacks, noisy texts and in another domain."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import absent, figure, folded, gallery, paragraph
from vialign.report.evidence import Evidence
from vialign.report.figures import curve_plot, interval_plot
from vialign.report.numbers import cite, cite_interval
from vialign.report.sections.common import SIGNAL_NAMES, signal_name, words
from vialign.report.tables import Show, render_matrix
from vialign.tables.signal import NONE, OWN, STRESS, STRESS_SUMMARY

_CURVES = {
    "severity": ("Corruptions", "severity"),
    "epsilon in 1/255": ("Adversarial images", "largest change of a pixel, 1/255"),
    "percent of words misspelt": ("Typos", "words with a typo, percent"),
    "percent of words moved": ("Word order", "words that change places, percent"),
    "words replaced": ("Adversarial words in wrong captions", "words replaced, at most"),
}
"""Figure and axis of the disturbances whose strength counts the same."""
_KINDS = {"random": "random captions", "hard": "hard negatives"}


def stress(evidence: Evidence, config: Config) -> list[Markup]:
    """The mean over all disturbances in a sentence, kept shares, decay curves, and every value."""
    frame, path = evidence.get("stress"), evidence.path("stress")
    if frame is None:
        return [absent("the stress test", path, evidence.stopped)]
    # Figures hold every signal against the attack on itself; what carries over from another attack is in the table.
    own = frame[(frame["target"] == NONE) | (frame["target"] == frame["signal"])]
    kept = own.assign(signal=own["signal"].map(signal_name))
    drawings = [_curves(kept[kept["unit"] == unit], path, unit) for unit in _CURVES if (kept["unit"] == unit).any()]
    elsewhere = kept[kept["unit"] == "domain"]
    if elsewhere.empty:
        drawings.append(absent("another domain, which this data set does not have", path, evidence.stopped))
    else:
        drawings.append(_domain(elsewhere, path))
    matrix = render_matrix(
        frame,
        STRESS,
        source=path,
        title="Stress test",
        rows=[
            Show("attack", "Attack"),
            Show("target", "Attacked"),
            Show("strength", "Strength", "plain"),
            Show("unit", "Unit"),
            Show("kind", "Kind"),
            Show("pairs", "Pairs", "count"),
        ],
        across="signal",
        value=Show("auc", "AUC", "fraction", "low", "high"),
    )
    return [*_summary(evidence, config), gallery(drawings), folded("Every value of the stress test", matrix)]


def _summary(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("stress_summary"), evidence.path("stress_summary")
    if frame is None:
        return [absent("the areas under the stress curves", path, evidence.stopped)]
    pair = (config.signal.driver, "s_global")
    means = frame[(frame["attack"] == "all") & frame["signal"].isin(pair)]
    blocks = [_mean(part, kind, *pair) for kind, part in means.groupby("kind", sort=False)]
    blocks.append(
        paragraph(
            "Attacks on images are adaptive: each score is attacked by its own gradient, through prototypes where it "
            "is local, and stands in the mean under the attacks on itself. Adversarial words follow the global "
            "similarity alone; corruptions and noisy texts aim at nothing."
        )
    )
    drawings = []
    own = frame[frame["signal"].isin(pair) & (frame["target"].isin([NONE, OWN]) | (frame["target"] == frame["signal"]))]
    for kind, part in own.dropna(subset=["relative_area"]).groupby("kind", sort=False):
        title = f"Discrimination kept under stress: {_KINDS.get(str(kind), words(kind))}"
        svg = interval_plot(
            part.assign(signal=part["signal"].map(signal_name), attack=part["attack"].map(words)),
            name=f"stress-kept-{kind}",
            title=title,
            row="attack",
            value="relative_area",
            series="signal",
            order=list(SIGNAL_NAMES.values()),
            axis="share of the excess over chance kept",
            lines=[(1.0, "no decay"), (0.0, "chance")],
        )
        reading = "The further right, the more of the clean discrimination is left."
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    if drawings:
        blocks.append(gallery(drawings))
    matrix = render_matrix(
        frame,
        STRESS_SUMMARY,
        source=path,
        title="Discrimination kept under stress: area above chance, relative to clean",
        rows=[Show("attack", "Attack"), Show("target", "Attacked"), Show("kind", "Kind")],
        across="signal",
        value=Show("relative_area", "Kept", "fraction", "low", "high"),
    )
    return [*blocks, folded("Discrimination kept under every disturbance", matrix)]


def _mean(means: pd.DataFrame, kind: object, driver: str, reference: str) -> Markup:
    """The mean over all disturbances, of the driver and of S_global, and their difference."""
    rows = {row["signal"]: row for _, row in means.iterrows()}
    said = []
    for signal in dict.fromkeys((driver, reference)):
        if signal not in rows:
            continue
        row, name = rows[signal], signal_name(signal)
        if pd.isna(row["relative_area"]):
            clean = cite(row, "clean", "fraction")
            said.append(Markup("{} has nothing to lose (AUC {} when clean)").format(name, clean))
        else:
            said.append(Markup("{} keeps {}").format(name, cite_interval(row, "relative_area", "fraction")))
    sentence = Markup("; ").join(said)
    if driver in rows and pd.notna(rows[driver]["difference"]):
        difference = cite_interval(rows[driver], "difference", "fraction", "difference_low", "difference_high")
        sentence = Markup("{}; paired difference {}").format(sentence, difference)
    return paragraph(
        "<strong>On {}, in the mean over all disturbances</strong>, of the excess over chance: {}.",
        _KINDS.get(str(kind), words(kind)),
        sentence,
    )


def _curves(frame: pd.DataFrame, path: str, unit: str) -> Markup:
    """Small multiples, one row of panels an attack, one column a kind of wrong caption."""
    title, axis = _CURVES[unit]
    kinds = frame["kind"].map(lambda kind: _KINDS.get(kind, words(kind)))
    if frame["attack"].nunique() > 1:
        kinds = frame["attack"].map(words) + ", " + frame["kind"].map(words)
    order = frame.assign(panel=kinds, first=frame.groupby("attack", sort=False).ngroup())
    svg = curve_plot(
        order.sort_values("first", kind="stable"),
        name=f"stress-{list(_CURVES).index(unit)}",
        title=title,
        x="strength",
        y="auc",
        low="low",
        high="high",
        series="signal",
        order=list(SIGNAL_NAMES.values()),
        facet="panel",
        axes_labels=(axis, "AUC"),
        lines=[(0.5, "chance")],
    )
    reading = (
        "Area under the ROC curve, from the clean value at the left end of each panel on. A curve that falls slower "
        "keeps more of its discrimination; bands are bootstrap intervals over images."
    )
    return figure(svg, title=title, reading=reading, sources=[path])


def _domain(frame: pd.DataFrame, path: str) -> Markup:
    title = "Another domain"
    place = frame["strength"].map(lambda strength: "other domain" if strength else "own domain")
    svg = interval_plot(
        frame.assign(place=frame["kind"].map(words) + ", " + place),
        name="stress-domain",
        title=title,
        row="place",
        value="auc",
        series="signal",
        order=list(SIGNAL_NAMES.values()),
        axis="area under the ROC curve",
        lines=[(0.5, "chance")],
    )
    reading = "The same score on images and wordings of another kind; nothing was fitted there."
    return figure(svg, title=title, reading=reading, sources=[path])
