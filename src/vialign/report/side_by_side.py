"""Two runs on one page: what differs in how they were made, and in what they measured."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vialign.config.evaluation import EvaluationConfig
from vialign.files.artifacts import write_text
from vialign.report.blocks import Section, bullets, figure, folded, gallery, paragraph, say
from vialign.report.build import render_page
from vialign.report.figures import interval_plot
from vialign.report.numbers import derived
from vialign.report.runs import CONFIG, StoredRun, different, joined, paired_differences, read_run, unpaired_difference
from vialign.report.sections.common import benchmark_name, signal_name, words
from vialign.report.summary import PRIMARY
from vialign.report.tables import Show, render_table

_BOTH = "of both runs"
_MOST = 2000
"""Rows of one table."""


def build_comparison(first: Path, second: Path, output: Path, provenance: Mapping[str, str]) -> None:
    """Write one self-contained page that sets the run in `first` beside that in `second`.

    Raises UserError when a folder is missing, holds no run, or one of its tables is broken.
    """
    runs = read_run(Path(first)), read_run(Path(second))
    makers = (_opening, _making, _gates, _results, _efficiency, _signal)
    sections = [make(*runs) for make in makers]
    write_text(str(render_page("Two runs side by side", "vialign comparison", sections, provenance)), output)


def _opening(first: StoredRun, second: StoredRun) -> Section:
    lines = [
        say(
            "<strong>{}</strong>: <code>{}</code>, configuration <em>{}</em>, {}.",
            letter,
            run.folder,
            run.facts.get("config_name", "not recorded"),
            Markup(", ").join(
                say("{} gate <em>{}</em>", gate, run.frames[name]["action"].iloc[0])
                for gate, name in ((gate, f"gate_{gate}") for gate in ("signal", "budget", "early"))
                if name in run.frames and len(run.frames[name])
            )
            or "no gate reached",
        )
        for letter, run in (("A", first), ("B", second))
    ]
    reading = paragraph(
        "Differences are B minus A, with intervals. An interval across zero decides nothing, and among many rows some "
        "lie beside it by chance: the intervals are not corrected for their number."
    )
    return Section("summary", "Summary", [bullets(lines), reading])


def _making(first: StoredRun, second: StoredRun) -> Section:
    section = Section("making", "How they were made")
    silent = [letter for letter, run in (("A", first), ("B", second)) if run.settings is None]
    if first.settings is None or second.settings is None:
        section.blocks.append(
            paragraph(
                "{} does not store its configuration (<code>{}</code>), so settings cannot be compared; the code "
                "digests and versions below can.",
                " and ".join(silent),
                CONFIG,
            )
        )
    else:
        section.blocks.append(_differing(different(first.settings, second.settings), "settings", "Setting", CONFIG))
    facts = different(first.facts, second.facts)
    section.blocks.append(_differing(facts, "versions, seeds or code", "What", "the metadata of each file"))
    return section


def _differing(frame: pd.DataFrame, what: str, header: str, source: str) -> Markup:
    if frame.empty:
        return paragraph("No difference in {} (<code>{}</code> {}).", what, source, _BOTH)
    return render_table(
        frame,
        None,
        source=source,
        title=f"Differences in {what}",
        columns=[Show("name", header), Show("first", "A", "prose"), Show("second", "B", "prose")],
        derived=f"{_BOTH}, entries that are not equal",
        limit=_MOST,
    )


def _missing(what: str) -> Markup:
    return Markup('<p class="absent">Not available: {} is missing in one of the runs.</p>').format(what)


def _gates(first: StoredRun, second: StoredRun) -> Section:
    section = Section("gates", "Gates")
    for gate in ("signal", "budget", "early"):
        frame = joined(first, second, f"gate_{gate}", ["criterion"])
        if frame.empty:
            section.blocks.append(_missing(f"the verdict of the {gate} gate"))
            continue
        columns = [
            Show("criterion", "Criterion", "prose"),
            *(
                Show(f"{column}_{side}", f"{title}, {side.upper()}", style, *ends)
                for side in "ab"
                for column, title, style, ends in (
                    ("met", "Met", "verdict", ()),
                    ("undecided", "Undecided", "flag", ()),
                    ("value", "Measured", "number", (f"low_{side}", f"high_{side}")),
                )
            ),
        ]
        title = f"{gate.capitalize()} gate"
        section.blocks.append(_table(frame, title, columns, "the verdicts"))
    return section


def _table(frame: pd.DataFrame, title: str, columns: list[Show], source: str) -> Markup:
    how = f"{_BOTH}, rows with the same key"
    return render_table(frame, None, source=source, title=title, columns=columns, derived=how, limit=_MOST)


def _beside(value: str, style: str) -> list[Show]:
    """Both values with their intervals, and the difference with its own."""
    sides = [Show(f"{value}_{side}", side.upper(), style, f"low_{side}", f"high_{side}") for side in "ab"]
    points = "points" if style == "percent" else style
    return [*sides, Show("difference", "B minus A", points, "low", "high")]


def _results(first: StoredRun, second: StoredRun) -> Section:
    section = Section("comparison", "Results")
    keys = ["method", "benchmark", "measure", "convention"]
    frame = joined(first, second, "results", keys)
    if frame.empty:
        section.blocks.append(_missing("the table of results"))
        return section
    frame = _with_differences(frame, first, second)
    shown = frame[frame["convention"].eq("micro") & frame["measure"].isin(PRIMARY) & frame["difference"].notna()]
    paired = int((shown["how"] == "paired").sum())
    section.blocks.append(
        paragraph(
            "{} of {} differences in measures that count are paired item by item: both runs answered the same items "
            "of the same texts. The others are unpaired and their intervals wider, as they count the luck of the "
            "items twice. {} lie wholly above zero, {} wholly below.",
            derived(paired, "rows whose items both runs have", "evaluate/<method>/<seed>/outcomes.parquet"),
            derived(len(shown), "rows that both runs have", "compare/results.parquet"),
            derived(int((shown["low"] > 0).sum()), "intervals above zero", "compare/results.parquet"),
            derived(int((shown["high"] < 0).sum()), "intervals below zero", "compare/results.parquet"),
        )
    )
    drawings = [_drawing(part, str(split)) for split, part in shown.groupby(_split(shown), sort=False)]
    section.blocks.append(gallery(drawings))
    columns = [
        Show("method", "Method"),
        Show("benchmark", "Benchmark"),
        Show("measure", "Measure"),
        Show("convention", "Mean"),
        *_beside("value", "percent"),
        Show("how", "How"),
        Show("items_a", "Items, A", "count"),
        Show("items_b", "Items, B", "count"),
    ]
    title = "Results, percent, and their difference, points"
    section.blocks.append(_table(shown, f"{title}: measures that count", columns, "the results"))
    section.blocks.append(folded("Every measure and mean", _table(frame, title, columns, "the results")))
    only = [(letter, sorted(_methods(run) - _methods(other))) for letter, run, other in _both_ways(first, second)]
    lines = [say("Only in {}: <em>{}</em>.", letter, ", ".join(names)) for letter, names in only if names]
    return Section(section.name, section.title, [*section.blocks, *([bullets(lines)] if lines else [])])


def _both_ways(first: StoredRun, second: StoredRun) -> tuple[tuple[str, StoredRun, StoredRun], ...]:
    return ("A", first, second), ("B", second, first)


def _methods(run: StoredRun) -> set[str]:
    return set(run.frames["results"]["method"])


def _split(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["benchmark"].str.split("/").str[0]


def _with_differences(frame: pd.DataFrame, first: StoredRun, second: StoredRun) -> pd.DataFrame:
    """Paired differences where there are any, else unpaired ones; `how` says which."""
    frame = frame.reset_index(drop=True).join(unpaired_difference(frame.reset_index(drop=True), "value"))
    frame["how"] = frame["difference"].notna().map({True: "unpaired", False: "in one run only"})
    paired = paired_differences(first, second, level=EvaluationConfig().level)
    ends = ["difference", "low", "high"]
    # Outcomes are what the micro mean is taken over; the other conventions weigh or choose items.
    found = paired.assign(convention="micro", how="paired").drop(columns="items")
    frame = frame.merge(
        found, on=["method", "benchmark", "measure", "convention"], how="left", suffixes=("", "_paired")
    )
    known = frame["how_paired"].notna()
    for column in (*ends, "how"):
        frame[column] = frame[f"{column}_paired"].where(known, frame[column])
    return frame


def _drawing(frame: pd.DataFrame, split: str) -> Markup:
    title = f"Difference of the runs, {words(split)}"
    svg = interval_plot(
        frame.assign(label=benchmark_name(frame)),
        name=f"runs-{split}".replace("_", "-"),
        title=title,
        row="label",
        value="difference",
        series="method",
        axis="points, B minus A",
        lines=[(0.0, "no difference")],
        scale=100,
    )
    reading = "A bar wholly to the right of the line means that B is better, wholly to the left that A is."
    return figure(svg, title=title, reading=reading, sources=["compare/results.parquet " + _BOTH])


def _efficiency(first: StoredRun, second: StoredRun) -> Section:
    section = Section("efficiency", "Efficiency")
    frame = joined(first, second, "budget", ["method", "backbone", "measure"])
    if frame.empty:
        section.blocks.append(_missing("the ledger"))
        return section
    frame = frame.join(unpaired_difference(frame, "value"))
    frame["unit"] = frame["unit_a"].fillna(frame["unit_b"])
    columns = [
        Show("method", "Method"),
        Show("backbone", "At the size of"),
        Show("measure", "Measure"),
        *_beside("value", "number"),
        Show("outcome_a", "Outcome, A"),
        Show("outcome_b", "Outcome, B"),
        Show("unit", "Unit"),
    ]
    limited = frame[frame["limit_a"].notna() | frame["limit_b"].notna()]
    section.blocks.append(_table(limited, "Budget constraints", columns, "the ledgers"))
    section.blocks.append(folded("The whole ledger", _table(frame, "Ledger", columns, "the ledgers")))
    return section


def _signal(first: StoredRun, second: StoredRun) -> Section:
    section = Section("signal", "Signal")
    frame = joined(first, second, "diagnosis", ["signal", "kind"])
    if frame.empty:
        section.blocks.append(_missing("the diagnosis"))
        return section
    frame = frame.join(unpaired_difference(frame, "auc"))
    title = "Difference of the areas under the ROC curve"
    drawn = frame[frame["difference"].notna()]
    svg = interval_plot(
        drawn.assign(signal=drawn["signal"].map(signal_name), kind=drawn["kind"].map(words)),
        name="runs-diagnosis",
        title=title,
        row="kind",
        value="difference",
        series="signal",
        axis="area under the ROC curve, B minus A",
        lines=[(0.0, "no difference")],
    )
    reading = "Unpaired: intervals of both runs together. To the right of the line the score discriminates better in B."
    section.blocks.append(figure(svg, title=title, reading=reading, sources=["signal/diagnosis.parquet " + _BOTH]))
    columns = [Show("signal", "Signal"), Show("kind", "Kind"), *_beside("auc", "fraction")]
    section.blocks.append(_table(frame, "AUC of both runs", columns, "the diagnoses"))
    return section
