"""What a reader sees first: the answer, one picture, the gates; and the design review of a stopped run."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.gates.verdict import missed
from vialign.report import summary
from vialign.report.blocks import Section, bullets, figure, heading, paragraph, part, say
from vialign.report.evidence import Evidence
from vialign.report.figures import interval_plot
from vialign.report.review import going_on, suggestions
from vialign.report.sections.answers import answers
from vialign.report.sections.common import SIGNAL_NAMES, benchmark_name, by_method, method_order, words
from vialign.report.sections.confirmation import confirmation_answer
from vialign.report.sections.gates import verdict_table
from vialign.report.sections.supervision import setting

QUESTION = (
    "A dual encoder that was trained contrastively knows which concepts an image and a caption share, but hardly how "
    "they combine. Do the finer alignments inside the frozen encoder carry that information, and can small removable "
    "modules use it within a hard efficiency budget?"
)


def opening(evidence: Evidence, config: Config) -> Section:
    """Question, answer, gates, what a reader asks next, and the one picture that carries the answer."""
    section = Section("summary", "Summary")
    if evidence.stopped:
        section.blocks.append(part("stopped.html.j2", gate=evidence.stopped))
    section.blocks.append(part("question.html.j2", question=QUESTION))
    section.blocks.append(part("answer.html.j2", headline=summary.headline(evidence, config)))
    for said in (setting(evidence, config), confirmation_answer(evidence, config)):
        if said is not None:
            section.blocks.append(paragraph("{}", said))
    section.blocks.append(part("badges.html.j2", badges=summary.badges(evidence)))
    section.blocks.append(part("answers.html.j2", answers=answers(evidence, config)))
    picture = _results_picture(evidence, config) or _signal_picture(evidence, config)
    if picture:
        section.blocks.append(picture)
    return section


def _results_picture(evidence: Evidence, config: Config) -> Markup | None:
    results = evidence.get("results")
    if results is None:
        return None
    part = results[results["measure"].isin(summary.PRIMARY) & results["convention"].eq("micro")]
    part = summary.of_headline(part, config)
    if part.empty:
        return None
    beside = " and the benchmarks" if config.data.benchmarks else ""
    title = f"Every method on the {words(config.evaluation.splits[0])} split{beside}"
    svg = interval_plot(
        by_method(config, part.assign(label=benchmark_name(part))),
        name="summary-results",
        title=title,
        row="label",
        value="value",
        series="method",
        order=method_order(config, part),
        axis="percent of items solved",
        scale=100,
    )
    reading = "Each dot is a method, its bar the interval over images and training seeds; further right is better."
    return figure(svg, title=title, reading=reading, sources=[evidence.path("results")])


def _signal_picture(evidence: Evidence, config: Config) -> Markup | None:
    diagnosis = evidence.get("diagnosis")
    if diagnosis is None:
        return None
    names = [config.signal.driver, "s_global"]
    part = diagnosis[diagnosis["signal"].isin(names)]
    title = "Discrimination of true captions from wrong ones"
    svg = interval_plot(
        part.assign(signal=part["signal"].map(SIGNAL_NAMES), kind=part["kind"].map(words)),
        name="summary-signal",
        title=title,
        row="kind",
        value="auc",
        series="signal",
        axis="area under the ROC curve",
        lines=[(0.5, "chance")],
    )
    reading = "Dots to the right of the chance line tell true captions from that kind of wrong caption."
    return figure(svg, title=title, reading=reading, sources=[evidence.path("diagnosis")])


def design_review(evidence: Evidence, config: Config, called: Mapping[str, Any] | None = None) -> Section:
    """Which rule stopped the run, the evidence, what to try first, and the command that goes on."""
    section = Section("design-review", "Design review")
    verdict = evidence.get(f"gate_{evidence.stopped}")
    if verdict is None:
        raise ValueError("a design review needs the verdict of the gate that stopped the run")
    broken = missed(verdict)
    section.blocks.append(
        paragraph("A stop is a result: what depends on the claim was skipped. These required criteria are not met.")
    )
    title = f"Criteria of the {evidence.stopped} gate that are not met"
    path = evidence.path(f"gate_{evidence.stopped}")
    section.blocks.append(verdict_table(broken, path, title))
    section.blocks.append(heading("What to try, strongest evidence first"))
    found = suggestions(evidence, config)
    if found:
        items = [_suggestion(text=item.text, sources=item.sources) for item in found]
        section.blocks.append(bullets(items, ordered=True))
    else:
        section.blocks.append(
            paragraph("The tables of this run point at no single organ. Read the sections below from the top.")
        )
    section.blocks.append(heading("To go on"))
    section.blocks.append(
        paragraph(
            "Change what made the run stop in your config file and call Snakemake again: it does what is missing, in "
            "that one call. To go on although these criteria are not met, set <code>gates.{}.action</code> to "
            "<code>warn</code> there, or call",
            evidence.stopped,
        )
    )
    section.blocks.append(Markup("<pre>{}</pre>").format(going_on(str(evidence.stopped), called)))
    return section


def _suggestion(text: Markup, sources: tuple[str, ...]) -> Markup:
    names = Markup(", ").join(Markup("<code>{}</code>").format(source) for source in sources)
    return say('{} <span class="source">Evidence: {}.</span>', text, names)
