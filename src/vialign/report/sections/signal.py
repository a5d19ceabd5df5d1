"""Whether the signal is there: discrimination, distributions, probe, stress, and its course in training."""

from collections.abc import Callable

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import distribution_plot, interval_plot
from vialign.report.numbers import cite, cite_interval
from vialign.report.sections.common import REFERENCE_MEANINGS, SIGNAL_NAMES, signal_name, words
from vialign.report.sections.stress import stress
from vialign.report.tables import Show, render_matrix, render_table
from vialign.tables.evaluation import AGREEMENT
from vialign.tables.signal import DIAGNOSIS, PROBE, REFERENCE_SIGNALS, SIGNAL_CALIBRATION, SIGNALS

Block = Callable[[Evidence, Config], list[Markup]]


def signal(evidence: Evidence, config: Config) -> Section:
    """Phase 1 (discrimination, distributions, probe, people), phase 2 (stress), and what phase 3 found in training."""
    section = Section("signal", "Signal: phases 1-3")
    section.blocks.append(
        paragraph("The signal that the gate judges and that the modules read is <code>{}</code>.", config.signal.driver)
    )
    phases: dict[str, dict[str, Block]] = {
        "Phase 1: diagnosis and probe": {
            "Discrimination": _discrimination,
            "Distributions": _distributions,
            "Calibration of the similarities": _calibration,
            "Probe": _probe,
            "Agreement with people": _agreement,
        },
        "Phase 2: under stress": {"Stress": stress},
        "Phase 3: during and after training": {"Monitoring": _monitoring},
    }
    for phase, parts in phases.items():
        section.blocks.append(heading(phase))
        for title, block in parts.items():
            if len(parts) > 1:
                section.blocks.append(heading(title, level=4))
            section.blocks.extend(block(evidence, config))
    return section


def _discrimination(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("diagnosis"), evidence.path("diagnosis")
    if frame is None:
        return [absent("the diagnosis", path, evidence.stopped)]
    drawings = [
        _discrimination_figure(frame[frame["signal"].isin(signals)], path, name, title)
        for name, title, signals in (
            ("diagnosis", "The signal and its parts", SIGNALS),
            (
                "diagnosis-references",
                "The signal beside reference signals",
                (config.signal.driver, "s_global", *REFERENCE_SIGNALS),
            ),
        )
    ]
    aside = paragraph(
        "S local stands twice: plain, the mean best match of phrases among prototypes, without geometry; and "
        "with geometry, where spatial relations are read from how the two prototypes lie and other relations from both."
    )
    shows = [
        Show("kind", "Kind"),
        Show("signal", "Signal"),
        Show("auc", "AUC", "fraction", "low", "high"),
        Show("cohen_d", "Cohen's d", "number"),
        Show("p_value", "p", "p"),
        Show("p_holm", "p, Holm", "p"),
        Show("pairs", "Pairs", "count"),
    ]
    matrix = render_matrix(
        frame,
        DIAGNOSIS,
        source=path,
        title="AUC by kind and signal",
        rows=[Show("kind", "Kind")],
        across="signal",
        value=shows[2],
    )
    full = render_table(frame, DIAGNOSIS, source=path, title="Diagnosis, every test", columns=shows)
    return [
        gallery(drawings),
        aside,
        *_references(frame, evidence),
        matrix,
        folded("Effect sizes and tests", full),
    ]


def _discrimination_figure(frame: pd.DataFrame, path: str, name: str, title: str) -> Markup:
    title = f"{title}: area under the ROC curve by kind of wrong caption"
    svg = interval_plot(
        frame.assign(signal=frame["signal"].map(signal_name), kind=frame["kind"].map(words)),
        name=name,
        title=title,
        row="kind",
        value="auc",
        series="signal",
        order=list(SIGNAL_NAMES.values()),
        axis="area under the ROC curve",
        lines=[(0.5, "chance")],
    )
    reading = "A bar wholly to the right of the chance line means that the score ranks true captions above wrong ones."
    return figure(svg, title=title, reading=reading, sources=[path])


def _references(frame: pd.DataFrame, evidence: Evidence) -> list[Markup]:
    """What each reference signal is, and which kinds of wrong caption give themselves away by their words."""
    there = set(frame["signal"])
    missing = [
        absent(f"the reference signal {signal_name(name)}", "signal/references.parquet", evidence.stopped)
        for name in REFERENCE_SIGNALS
        if name not in there
    ]
    meanings = [
        say("<strong>{}</strong> (<code>{}</code>): {}", signal_name(name), name, meaning)
        for name, meaning in REFERENCE_MEANINGS.items()
        if name in there
    ]
    blocks = [*missing, *([bullets(meanings)] if meanings else [])]
    blind = frame[(frame["signal"] == "blind") & (frame["low"] > 0.5)]
    if not blind.empty:
        told = [say("{} (AUC {})", words(row["kind"]), cite(row, "auc", "fraction")) for _, row in blind.iterrows()]
        blocks.append(
            paragraph(
                "Text alone tells true captions beyond chance from: {}. On these kinds a part of any score's success "
                "may come from the words; what counts is how far it lies above text alone.",
                Markup(", ").join(told),
            )
        )
    return blocks


def _distributions(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("scores"), evidence.path("scores")
    if frame is None:
        return [absent("the scores", path, evidence.stopped)]
    frame = frame.assign(kind=frame["kind"].map(words))
    drawings = []
    for column in dict.fromkeys((config.signal.driver, "s_global", "s_local", "s_local_plain")):
        title = f"{signal_name(column)}: aligned and wrong captions"
        svg = distribution_plot(
            frame,
            name=f"scores-{column}".replace("_", "-"),
            title=title,
            value=column,
            series="kind",
            axis=signal_name(column),
        )
        reading = (
            "Whole distributions, not estimates, so without intervals: the further the aligned outline lies from the "
            "others, the better the score separates. The outermost thousandths lie in the last bins."
        )
        drawings.append(figure(svg, title=title, reading=reading, sources=[path]))
    return [gallery(drawings)]


def _calibration(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("signal_calibration"), evidence.path("signal_calibration")
    if frame is None:
        return [absent("the calibration maps", path, evidence.stopped)]
    columns = [
        Show("similarity", "Similarity"),
        Show("slope", "Slope", "number"),
        Show("intercept", "Intercept", "number"),
        Show("auc", "AUC", "fraction"),
        Show("brier", "Brier score", "fraction"),
        Show("calibration_error", "Calibration error", "fraction"),
        Show("pairs", "Pairs", "count"),
    ]
    title = "Monotone maps to the unit interval"
    return [render_table(frame, SIGNAL_CALIBRATION, source=path, title=title, columns=columns)]


def _probe(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("probe"), evidence.path("probe")
    if frame is None:
        return [absent("the probe", path, evidence.stopped)]
    title = "Relations read by a linear probe"
    svg = interval_plot(
        frame,
        name="probe",
        title=title,
        row="features",
        value="accuracy",
        axis="balanced accuracy",
        lines=[(float(frame["chance"].iloc[0]), "chance")],
    )
    reading = (
        "Cross-validated by image. What matters is the gain beyond the global and the local similarity together; "
        "shuffled labels must sit at chance."
    )
    columns = [
        Show("features", "Features"),
        Show("accuracy", "Accuracy", "fraction", "low", "high"),
        Show("chance", "Chance", "fraction"),
        Show("selectivity", "Selectivity", "fraction"),
        Show("gain", "Gain beyond S global", "fraction", "gain_low", "gain_high"),
        Show("beyond_parts", "Beyond both", "fraction", "beyond_parts_low", "beyond_parts_high"),
        Show("classes", "Classes", "count"),
        Show("images", "Images", "count"),
    ]
    return [
        figure(svg, title=title, reading=reading, sources=[path]),
        render_table(frame, PROBE, source=path, title="Probe", columns=columns),
    ]


def _agreement(evidence: Evidence, config: Config) -> list[Markup]:
    frame, path = evidence.get("agreement"), evidence.path("agreement")
    if frame is None:
        return [absent("agreement with human ratings", path, evidence.stopped)]
    title = "Kendall's tau-b with human ratings"
    svg = interval_plot(
        frame.assign(signal=frame["signal"].map(signal_name)),
        name="agreement",
        title=title,
        row="signal",
        value="tau_b",
        series="ratings" if frame["ratings"].nunique() > 1 else None,
        axis="Kendall's tau-b",
        lines=[(0.0, "no agreement")],
    )
    columns = [
        Show("signal", "Signal"),
        Show("ratings", "Ratings"),
        Show("tau_b", "tau-b", "fraction", "low", "high"),
        Show("tau_c", "tau-c", "fraction"),
        Show("pairs", "Pairs", "count"),
    ]
    reading = "Further right agrees better with what people said of the same pairs."
    return [
        figure(svg, title=title, reading=reading, sources=[path]),
        render_table(frame, AGREEMENT, source=path, title=title, columns=columns),
    ]


def _monitoring(evidence: Evidence, config: Config) -> list[Markup]:
    """The last window of each training whose signal was followed; the rest stands in sections of its own."""
    name = "monitoring" if evidence.get("monitoring") is not None else "early_monitoring"
    frame, path = evidence.get(name), evidence.path(name)
    known = None if frame is None else frame[(frame["of"] == "level") & frame["correlation"].notna()]
    if known is None or known.empty:
        blocks = [absent("the rolling correlation of C with the selection metric", path, evidence.stopped)]
    else:
        last = known.sort_values("step", kind="stable").groupby(["method", "seed"], sort=False).tail(1)
        lines = [
            say(
                "<strong>{}</strong>, seed {}: {}",
                row["method"],
                cite(row, "seed", "plain"),
                cite_interval(row, "correlation", "fraction"),
            )
            for _, row in last.sort_values(["method", "seed"], kind="stable").iterrows()
        ]
        text = "Rank correlation of mean C with the selection metric over the last window of each training:"
        blocks = [paragraph(text), bullets(lines)]
    text = 'Its course stands under <a href="#training">{}</a>, the gradients under <a href="#gradients">{}</a>.'
    return [*blocks, paragraph(text, "Training and monitoring", "Gradients and theory")]
