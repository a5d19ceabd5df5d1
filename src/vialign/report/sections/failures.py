"""What still fails: by class, by the phrase that decided, by benchmark, and how queries moved when training."""

import pandas as pd
from markupsafe import Markup

from vialign.analysis.failures.review import RULES, classes_digest
from vialign.config.experiment import Config
from vialign.report.blocks import Section, absent, bullets, figure, folded, gallery, heading, paragraph, say
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.numbers import cite, cite_interval
from vialign.report.sections.common import by_method, method_order, words
from vialign.report.sections.failure_gallery import example_gallery
from vialign.report.summary import main_method
from vialign.report.tables import Show, render_matrix
from vialign.tables.failures import FAILURE_MOVES, FAILURE_RATES, FAILURE_REVIEW

_EVERY = "any class"
_RATE = Show("rate", "", "percent", "low", "high")
_CHANGE = Show("change", "", "points", "change_low", "change_high")


def failures(evidence: Evidence, config: Config) -> Section:
    """Rates of the failure classes, moves between them, what people say of them, and examples with their images."""
    section = Section("failures", "Failures")
    frame, path = evidence.get("failures"), evidence.path("failures")
    if frame is None:
        section.blocks.append(absent("the failure classes", path, evidence.stopped))
        return section
    section.blocks.extend(
        [
            paragraph(
                "Every failed query of every method is put into one class by fixed rules. They are measured with the "
                "frozen backbone and its prototypes, the same for every method, with limits from the selection split:"
            ),
            _classes(frame.iloc[0]),
            *_rates(evidence, config),
            *_moves(evidence, config),
            *_parts(evidence, config),
            *_review(evidence, frame),
            *example_gallery(evidence, config, frame),
        ]
    )
    return section


def _classes(row: pd.Series) -> Markup:
    agrees = (
        say(
            ", or it agrees with the captions of its image (mean cosine from {})",
            cite(row, "agreement_limit", "fraction"),
        )
        if pd.notna(row["agreement_limit"])
        else ""
    )
    return bullets(
        [
            say(
                "<strong>concept missing</strong>: an entity or attribute of the right text matches every prototype of "
                "the right image by less than {}.",
                cite(row, "missing_limit", "fraction"),
            ),
            say(
                "<strong>combination beyond reach</strong>: all concepts are found, and what won has the same words in "
                "another order, or concepts that are all found too, with a local similarity at most {} lower.",
                cite(row, "margin_limit", "fraction"),
            ),
            say(
                "<strong>annotation ambiguity</strong>: by the data, what won is as good. Its text is, word for word, "
                "a caption of its image{}; of an answer, people gave it too (soft accuracy from {}).",
                agrees,
                cite(row, "human_limit", "fraction"),
            ),
            say("<strong>other</strong>: none of these explains it."),
        ]
    )


def _whole(config: Config) -> str:
    """The benchmark that stands for all queries of the first test split."""
    return f"{config.evaluation.splits[0]}/all"


def _rates(evidence: Evidence, config: Config) -> list[Markup]:
    rates, path = evidence.get("failure_rates"), evidence.path("failure_rates")
    if rates is None:
        return [absent("the rates of the classes", path, evidence.stopped)]
    rates, order = by_method(config, rates), method_order(config, rates)
    whole = rates[(rates["benchmark"] == _whole(config)) & (rates["phrase_kind"] == "all")]
    classes = whole[whole["failure"] != "all"]
    title = "Failed queries by class and method"
    svg = interval_plot(
        classes,
        name="failures",
        title=title,
        row="failure",
        series="method",
        value="rate",
        axis=f"percent of the queries of {words(_split(config))}",
        order=order,
        scale=100,
    )
    reading = (
        "Dots are shares of all queries, not of the failures; bars are bootstrap intervals over images and training "
        "seeds. Further left is better."
    )
    figures = [figure(svg, title=title, reading=reading, sources=[path])]
    changes = classes[classes["change"].notna()]
    if len(changes):
        title = "Change of each class from the frozen backbone"
        svg = interval_plot(
            changes,
            name="failure-changes",
            title=title,
            row="failure",
            series="method",
            value="change",
            low="change_low",
            high="change_high",
            axis="points, method minus frozen",
            lines=[(0.0, "no change")],
            order=order,
            scale=100,
        )
        reading = "Left of the line a method fails less in this class; the intervals are paired by query."
        figures.append(figure(svg, title=title, reading=reading, sources=[path]))
    return [*_said(whole, main_method(evidence), _split(config)), gallery(figures)]


def _said(whole: pd.DataFrame, method: str | None, split: str) -> list[Markup]:
    """One sentence on how much the main method and the frozen backbone fail, and which classes changed."""
    own = whole[whole["method"] == method]
    if own["change"].isna().all():
        return []
    before = whole[(whole["method"] == "frozen") & (whole["failure"] == "all")].iloc[0]
    every = own[own["failure"] == "all"].iloc[0]
    sentence = say(
        "Of the {} queries of {}, the frozen backbone fails on {} % and <em>{}</em> on {} %.",
        cite(every, "queries", "count"),
        words(split),
        cite_interval(before, "rate", "percent"),
        method,
        cite_interval(every, "rate", "percent"),
    )
    clear = own[(own["failure"] != "all") & ((own["change_low"] > 0) | (own["change_high"] < 0))]
    changes = Markup(", ").join(
        say("{} {}", row["failure"], cite_interval(row, "change", "points", "change_low", "change_high"))
        for _, row in clear.iterrows()
    )
    rest = (
        say("Classes whose share of the queries changed beyond chance, in percentage points: {}.", changes)
        if len(clear)
        else say("In no class did the share change beyond chance.")
    )
    return [paragraph("{} {}", sentence, rest)]


def _moves(evidence: Evidence, config: Config) -> list[Markup]:
    moves, path = evidence.get("failure_moves"), evidence.path("failure_moves")
    if moves is None:
        return [absent("how queries moved between the classes", path, evidence.stopped)]
    moves = by_method(config, moves[moves["benchmark"] == _whole(config)])
    if moves.empty:
        return []
    solved = moves[(moves["after"] == "solved") & (moves["before"] != "solved")]
    title = "Net share of queries that moved to solved"
    svg = interval_plot(
        solved,
        name="failure-moves",
        title=title,
        row="before",
        series="method",
        value="net",
        low="net_low",
        high="net_high",
        order=method_order(config, moves),
        axis="net percent of queries",
        lines=[(0.0, "as many lost as won")],
        scale=100,
    )
    reading = (
        "One line a class of the frozen backbone's failures: right of the line a method solved more of them than it "
        "lost to the same class; intervals are paired by query."
    )
    main = main_method(evidence)
    tables = [_square(own, str(name), path) for name, own in moves.groupby("method", sort=False) if name == main]
    others = [_square(own, str(name), path) for name, own in moves.groupby("method", sort=False) if name != main]
    return [
        heading("Moves from the frozen backbone"),
        figure(svg, title=title, reading=reading, sources=[path]),
        *tables,
        *([folded("The same of the other methods", Markup("").join(others))] if others else []),
    ]


def _square(moves: pd.DataFrame, method: str, path: str) -> Markup:
    return render_matrix(
        moves,
        FAILURE_MOVES,
        source=path,
        title=f"Percent of queries by what the frozen backbone (rows) and {method} (columns) made of them",
        rows=[Show("before", "Frozen backbone")],
        across="after",
        value=Show("share", "", "percent", "low", "high"),
    )


def _parts(evidence: Evidence, config: Config) -> list[Markup]:
    """Rates by the kind of phrase that decided, and by benchmark."""
    rates, path = evidence.get("failure_rates"), evidence.path("failure_rates")
    if rates is None:
        return []
    rates, order = by_method(config, rates), method_order(config, rates)
    split = _split(config)
    kinds = rates[
        (rates["benchmark"] == _whole(config)) & (rates["failure"] == "all") & (rates["phrase_kind"] != "all")
    ]
    kinds = kinds.assign(kind=kinds["phrase_kind"].replace("none", "no phrase"))
    benchmarks = rates[rates["benchmark"].str.startswith(f"{split}/") & (rates["benchmark"] != _whole(config))]
    every = benchmarks[(benchmarks["failure"] == "all") & (benchmarks["phrase_kind"] == "all")]
    every = every.assign(label=every["benchmark"].str.split("/").str[-1].map(words))
    figures = []
    for frame, name, title, row, axis, reading in (
        (
            kinds,
            "failure-kinds",
            "Failed queries by the kind of phrase that decided",
            "kind",
            f"percent of the queries of {words(split)}",
            "The phrase that decided is the concept that is missing, or the phrase that speaks most for what won; bars "
            "are bootstrap intervals over images and seeds.",
        ),
        (
            every.sort_values("label", kind="stable"),
            "failure-benchmarks",
            "Failed queries by benchmark",
            "label",
            "percent of the benchmark's queries",
            "A query of Winoground fails where its text or its image score does; bars are bootstrap intervals over "
            "images and seeds.",
        ),
    ):
        svg = interval_plot(
            frame, name=name, title=title, row=row, value="rate", series="method", order=order, axis=axis, scale=100
        )
        figures.append(figure(svg, title=title, reading=reading, sources=[path]))
    return [
        heading("By phrase and by benchmark"),
        gallery(figures),
        _matrix(
            kinds, path, f"Percent of the queries of {split} that fail, by the kind of phrase that decided", "kind"
        ),
        _matrix(
            kinds[kinds["change"].notna()],
            path,
            "Change from the frozen backbone by the kind of phrase, percentage points",
            "kind",
            value=_CHANGE,
        ),
        *_by_benchmark(rates, path, config),
    ]


def _by_benchmark(rates: pd.DataFrame, path: str, config: Config) -> list[Markup]:
    """One table a test split; all but the first are folded."""
    rates = rates[rates["phrase_kind"] == "all"].assign(split=rates["benchmark"].str.split("/").str[0])
    tables = {
        str(split): _matrix(
            own.sort_values("benchmark", kind="stable"),
            path,
            f"Percent of queries of {split} that fail, by benchmark and class",
            "failure",
            Show("benchmark", "Benchmark"),
        )
        for split, own in rates.groupby("split", sort=False)
    }
    first = tables.pop(_split(config), None)
    rest = [folded(f"The same on {words(split)}", table) for split, table in tables.items()]
    return [*([first] if first else []), *rest]


def _matrix(frame: pd.DataFrame, path: str, title: str, across: str, *rows: Show, value: Show = _RATE) -> Markup:
    if frame.empty:
        return Markup("")
    return render_matrix(
        frame.assign(across=frame[across].replace("all", _EVERY)),
        FAILURE_RATES,
        source=path,
        title=title,
        rows=[*rows, Show("method", "Method")],
        across="across",
        value=value,
    )


def _review(evidence: Evidence, frame: pd.DataFrame) -> list[Markup]:
    """What people who labelled failures say of the rules."""
    review, path = evidence.get("failure_review"), evidence.path("failure_review")
    title = heading("What people say")
    command = Markup("<code>vialign failures export</code>")
    if review is None:
        text = (
            "No person has labelled failures of this run yet; {} writes a sheet for it, <code>import</code> reads it."
        )
        return [title, paragraph(text, command)]
    if evidence.provenance(path).get("classes_digest") != classes_digest(frame):
        text = (
            "The labels of people in <code>{}</code> belong to other classes than these; export and label anew with {}."
        )
        return [title, paragraph(text, path, command)]
    blocks = [title]
    for (first, second), own in review.groupby(["first", "second"], sort=False):
        row = own.iloc[0]
        blocks.append(
            paragraph(
                "{} and <em>{}</em> agree on {} % of {} failures: Cohen's kappa {}. It is that of the sheet, in which "
                "the classes are about equally frequent.",
                "The rules" if first == RULES else say("<em>{}</em>", first),
                second,
                cite(row, "observed", "percent"),
                cite(row, "items", "count"),
                cite_interval(row, "kappa", "fraction"),
            )
        )
        blocks.append(
            render_matrix(
                own,
                FAILURE_REVIEW,
                source=path,
                title=f"Failures by the class that {first} (rows) and {second} (columns) gave",
                rows=[Show("first_label", str(first).capitalize())],
                across="second_label",
                value=Show("count", "", "count"),
            )
        )
    return blocks


def _split(config: Config) -> str:
    return config.evaluation.splits[0]
