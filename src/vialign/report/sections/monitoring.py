"""Phase 3: how C moved with the selection metric during training, and what the gradients asked for."""

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import curve_plot, path_plot
from vialign.report.numbers import cite
from vialign.report.sections.common import by_method, method_order
from vialign.report.tables import Show, render_table
from vialign.tables.training import GRADIENT_SAMPLES, GRADIENT_TERMS, MONITORING


def monitoring(evidence: Evidence, config: Config) -> Section:
    """The light checks and their rolling rank correlation with warnings."""
    section = Section("monitoring", "Monitoring of the signal")
    section.blocks.append(paragraph(_QUESTION))
    section.blocks.extend(_checks(evidence, config))
    section.blocks.extend(_correlation(evidence, config))
    return section


def gradients(evidence: Evidence, config: Config) -> Section:
    """After training: cosines of the loss terms, samples by their C, and the optimisation path."""
    return Section("gradients", "Gradients", _gradients(evidence, config))


_QUESTION = (
    "A signal that drives training should stand for what training is to reach. So the mean consistency C is followed "
    "beside the selection metric (mean of R@1 and accuracy against negatives, or R@1 alone where none are used), in "
    "light checks on a fixed sample of the selection images; weights are chosen by the checks on all of them."
)


def _checks(evidence: Evidence, config: Config) -> list[Markup]:
    name = "signal_monitor" if evidence.get("signal_monitor") is not None else "early_signal_monitor"
    checks, path = evidence.get(name), evidence.path(name)
    if checks is None:
        return [absent("the light checks", path, evidence.stopped)]
    checks, order = by_method(config, checks), method_order(config, checks)
    drawings = []
    seeds = "The thick line is the mean over seeds; the thin lines are the seeds."
    for column, title, label, scale in (
        ("score", "Selection metric at the light checks", "selection metric, %", 100.0),
        ("consistency_mean", "Mean C at the light checks", "mean C, aligned pairs", 1.0),
    ):
        svg = curve_plot(
            checks,
            name=f"monitoring-{column.replace('_', '-')}",
            title=title,
            x="step",
            y=column,
            series="method",
            order=order,
            repeat="seed",
            axes_labels=("optimiser step", label),
            scale=scale,
        )
        drawings.append(figure(svg, title=title, reading=seeds, sources=[path]))
    title = "C beside the selection metric"
    svg = path_plot(
        checks.assign(percent=100 * checks["score"]).sort_values("step", kind="stable"),
        name="monitoring-path",
        title=title,
        x="consistency_mean",
        y="percent",
        series="method",
        order=order,
        repeat="seed",
        labels=("mean C, aligned pairs", "selection metric, %"),
    )
    reading = "One path a seed from check to check, ending at the large mark: upward to the right, both rise."
    return [gallery([*drawings, figure(svg, title=title, reading=reading, sources=[path])])]


def _correlation(evidence: Evidence, config: Config) -> list[Markup]:
    name = "monitoring" if evidence.get("monitoring") is not None else "early_monitoring"
    frame, path = evidence.get(name), evidence.path(name)
    if frame is None:
        return [absent("the rolling correlation", path, evidence.stopped)]
    frame = by_method(config, frame)
    blocks = [heading("Rolling rank correlation and early warning"), *_warnings(frame)]
    known = frame.dropna(subset=["correlation"])
    if known.empty:
        return [*blocks, absent("a correlation: no window holds enough checks", path, None)]
    drawings = []
    for of, what in (("level", "C with the selection metric"), ("change", "changes of C with changes of the metric")):
        part = known[known["of"] == of]
        if part.empty:
            continue
        title = f"Rolling rank correlation of {what}"
        svg = curve_plot(
            part.assign(series="seed " + part["seed"].astype(str)),
            name=f"monitoring-{of}",
            title=title,
            x="step",
            y="correlation",
            low="band_low",
            high="band_high",
            series="series",
            facet="method",
            axes_labels=("optimiser step at the window's end", "Spearman correlation"),
            lines=[(0.0, "no relation")],
        )
        drawings.append(figure(svg, title=title, reading=_READING[of], sources=[path]))
    columns = [
        Show("method", "Method"),
        Show("seed", "Seed"),
        Show("of", "Of"),
        Show("step", "Step", "count"),
        Show("window", "Checks", "count"),
        Show("correlation", "Rank correlation", "fraction", "low", "high"),
        Show("band_low", "Band from", "fraction"),
        Show("band_high", "Band to", "fraction"),
        Show("warned", "Warned", "flag"),
    ]
    table = render_table(known, MONITORING, source=path, title="Rolling rank correlation", columns=columns, limit=300)
    return [*blocks, gallery(drawings), folded("Every window with its interval", table)]


_READING = {
    "level": "Shuffled checks would stay inside the shaded band in nineteen of twenty trainings; a curve below it is "
    "an early warning, above it C follows the metric.",
    "change": "The same for changes from check to check, which two curves that merely drift do not share: a warning "
    "above that is missing here may come from drift alone.",
}


def _warnings(frame: pd.DataFrame) -> list[Markup]:
    """Where the early-warning rule fired, a line a training."""
    warned = frame[frame["warned"] & (frame["of"] == "level")]
    if warned.empty:
        return [paragraph("No early warning: in no window does the whole interval of the correlation lie under zero.")]
    lines = []
    for (method, _), part in warned.groupby(["method", "seed"], sort=False):
        steps = Markup(", ").join(cite(row, "step", "plain") for _, row in part.iterrows())
        seed = cite(part.iloc[0], "seed", "plain")
        lines.append(say("<strong>{}</strong>, seed {}: windows that end at step {}.", method, seed, steps))
    text = "<strong>Early warning</strong>: C falls where the metric rises, or the reverse, more than by chance."
    return [paragraph(text), bullets(lines)]


def _gradients(evidence: Evidence, config: Config) -> list[Markup]:
    if all(evidence.get(name) is None for name in ("gradient_terms", "gradient_samples", "optimisation_path")):
        return [absent("the gradient analysis", evidence.path("gradient_terms"), evidence.stopped)]
    drawings = [*_terms(evidence, config), *_samples(evidence, config), *_path(evidence, config)]
    blocks = [gallery(drawings)]
    terms, samples = evidence.get("gradient_terms"), evidence.get("gradient_samples")
    if terms is not None:
        columns = [
            Show("method", "Method"),
            Show("seed", "Seed"),
            Show("step", "Step", "count"),
            Show("first", "Term"),
            Show("second", "Other term"),
            Show("cosine", "Cosine", "fraction", "low", "high"),
            Show("batches", "Batches", "count"),
        ]
        path = evidence.path("gradient_terms")
        table = render_table(terms, GRADIENT_TERMS, source=path, title="Terms of the loss", columns=columns)
        blocks.append(folded("Every cosine between terms", table))
    if samples is not None:
        columns = [
            Show("method", "Method"),
            Show("step", "Step", "count"),
            Show("consistency", "Mean C of the group", "fraction"),
            Show("cosine", "Cosine with the others' gradient", "fraction", "low", "high"),
            Show("samples", "Samples", "count"),
        ]
        path = evidence.path("gradient_samples")
        table = render_table(samples, GRADIENT_SAMPLES, source=path, title="Samples by C", columns=columns)
        blocks.append(folded("Every group of samples", table))
    return blocks


def _terms(evidence: Evidence, config: Config) -> list[Markup]:
    frame = evidence.get("gradient_terms")
    if frame is None:
        return []
    drawings = []
    for method, part in by_method(config, frame).groupby("method", sort=False):
        title = f"Gradients of the loss terms, {method}"
        svg = curve_plot(
            part.assign(pair=part["first"] + ", " + part["second"], series="seed " + part["seed"].astype(str)),
            name=f"gradient-terms-{method}",
            title=title,
            x="step",
            y="cosine",
            low="low",
            high="high",
            series="series",
            facet="pair",
            axes_labels=("optimiser step", "cosine"),
            lines=[(0.0, "at right angles")],
        )
        reading = (
            "Above the line two terms pull the weights the same way, below it against each other; on it they change "
            "different things. Shaded: interval over batches."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[evidence.path("gradient_terms")]))
    return drawings


def _samples(evidence: Evidence, config: Config) -> list[Markup]:
    frame = evidence.get("gradient_samples")
    if frame is None:
        return []
    title = "Gradients of samples by their C"
    svg = curve_plot(
        by_method(config, frame).assign(series="step " + frame["step"].astype(str)),
        name="gradient-samples",
        title=title,
        x="consistency",
        y="cosine",
        low="low",
        high="high",
        series="series",
        facet="method",
        axes_labels=("mean C of the group", "cosine"),
        lines=[(0.0, "at right angles")],
    )
    reading = (
        "A rising curve: the task gradient of pairs with a low C agrees less with that of all other pairs, so weight "
        "on them turns training away from the common direction. Groups hold equally many pairs; shaded: interval over "
        "pairs and seeds."
    )
    return [figure(svg, title=title, reading=reading, sources=[evidence.path("gradient_samples")])]


def _path(evidence: Evidence, config: Config) -> list[Markup]:
    frame = evidence.get("optimisation_path")
    if frame is None:
        return []
    drawings = []
    for method, part in by_method(config, frame).groupby("method", sort=False):
        title = f"Optimisation path, {method}"
        labels = (
            "seed "
            + part["seed"].astype(str)
            + (100 * part["first_share"]).map(": {:.0f} %".format)
            + (100 * part["second_share"]).map(" and {:.0f} %".format)
        )
        svg = path_plot(
            part.assign(series=labels).sort_values(["seed", "step"], kind="stable"),
            name=f"optimisation-path-{method}",
            title=title,
            x="first",
            y="second",
            series="series",
            repeat="seed",
            labels=("first principal direction, weights", "second, weights"),
        )
        reading = (
            "The weights from check to check, ending at the large mark, with the shares of the path's variance along "
            "both axes; a long random walk would have three fifths and three twentieths and draw an arc too."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[evidence.path("optimisation_path")]))
    return drawings
