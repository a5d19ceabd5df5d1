"""The questions a reader comes with, each answered from the tables in plain words, with intervals."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config, digest
from vialign.gates.verdict import missed, not_shown
from vialign.report import summary
from vialign.report.blocks import say
from vialign.report.evidence import PLACES, Evidence
from vialign.report.numbers import cite_config, cite_interval, derived, quote
from vialign.report.sections.attribution import carried
from vialign.report.sections.common import benchmark_name, words
from vialign.report.sections.cost_answer import costs, there, unknown
from vialign.tables.data import NEGATIVE_KINDS


@dataclass(frozen=True)
class Answer:
    """One question with what the tables say to it."""

    question: str
    said: list[Markup]
    """Sentences, the plain answer first."""
    sections: dict[str, str]
    """Anchor and title of the sections with the evidence."""


def answers(evidence: Evidence, config: Config) -> list[Answer]:
    """Whether the signal held, whether the method beat LoRA, what carries the gain, what it cost, where it fails, how
    to repeat the run.
    """
    return [
        Answer(
            "Did the signal hold?",
            [_held(evidence), *there(_signal(evidence, config), _random(evidence, config), _probe(evidence))],
            {"signal": "Signal", "gates": "Gates"},
        ),
        Answer(
            "Did the method beat LoRA, and by how much?",
            _compared(evidence, config),
            {"comparison": "Comparison", "ablation": "Ablation"},
        ),
        Answer(
            "What carries the gain?",
            [
                *(carried(evidence, summary.main_method(evidence)) or unknown(evidence, "nothing was replaced to see")),
                *there(_beyond_grounding(evidence, config)),
            ],
            {"attribution": "What carries the gain"},
        ),
        Answer("What did it cost?", costs(evidence), {"efficiency": "Efficiency"}),
        Answer("Where does it fail?", _fails(evidence, config), {"failures": "Failures", "comparison": "Comparison"}),
        Answer("How do I reproduce this?", _repeat(evidence, config), {"provenance": "Provenance"}),
    ]


# ------------------------------------------------------------------------------------------------ the signal


def _held(evidence: Evidence) -> Markup:
    verdict = evidence.get("gate_signal")
    action = "none" if verdict is None else str(verdict["action"].iloc[0])
    if verdict is None or action == "none":
        return say("<strong>Not known</strong>: this run did not reach the signal gate.")
    if action == "go":
        return say("<strong>Yes</strong>: every criterion that the signal gate requires holds.")
    went = "stopped" if action == "stop" else "went on"
    open_, unmeasured_ = missed(verdict), not_shown(verdict)
    named = Markup("; ").join(quote(row, "criterion") for _, row in open_.iterrows())
    if len(unmeasured_) == len(open_):
        return say(
            "<strong>Not shown</strong>: what the signal gate requires could not be measured: {}. ", named
        ) + say("The run {}.", went)
    return say("<strong>No</strong>: of what the signal gate requires this does not hold: {}. The run {}.", named, went)


def _signal(evidence: Evidence, config: Config) -> Markup | None:
    diagnosis = evidence.get("diagnosis")
    if diagnosis is None:
        return None
    hard = diagnosis[diagnosis["kind"].isin(NEGATIVE_KINDS)]
    ours = hard[hard["signal"] == config.signal.driver].sort_values("auc")
    plain = hard[hard["signal"] == "s_global"].set_index("kind")
    blind = hard[hard["signal"] == "blind"].set_index("kind")
    if ours.empty:
        return None
    # What the text alone gives away at least as well is no evidence, so such a kind is named only for want of another.
    seen = ours[~(ours["kind"].map(blind["auc"]) >= ours["auc"])]
    best = (seen if len(seen) else ours).iloc[-1]
    told = best["low"] > config.gates.signal.minimum_auc
    text = say(
        "The signal (<code>{}</code>) "
        + ("tells true captions from hard negatives" if told else "tells true captions from no kind of hard negative")
        + (", best" if told else " beyond chance; it comes closest")
        + " for <em>{}</em>, with AUC {}",
        config.signal.driver,
        words(best["kind"]),
        cite_interval(best, "auc", "fraction"),
    )
    if best["kind"] in plain.index:
        text += say("; the global similarity alone has {}", cite_interval(plain.loc[best["kind"]], "auc", "fraction"))
    if best["kind"] in blind.index:
        text += say("; the text alone has {}", cite_interval(blind.loc[best["kind"]], "auc", "fraction"))
    weakest = ours.iloc[0]
    return text + say(
        ". It is weakest for <em>{}</em>, with {}.",
        words(weakest["kind"]),
        cite_interval(weakest, "auc", "fraction"),
    )


def _random(evidence: Evidence, config: Config) -> Markup | None:
    """How the signal does on captions of other images, where agreement of two low similarities misleads it."""
    diagnosis = evidence.get("diagnosis")
    if diagnosis is None:
        return None
    part = diagnosis[(diagnosis["kind"] == "random") & (diagnosis["signal"] == config.signal.driver)]
    if part.empty:
        return None
    row = part.iloc[0]
    below = row["high"] < config.gates.signal.minimum_auc
    text = "Captions of other images it ranks above the true ones: AUC {}." if below else "On random captions: AUC {}."
    return say(text, cite_interval(row, "auc", "fraction"))


def _probe(evidence: Evidence) -> Markup | None:
    probe = evidence.get("probe")
    if probe is None:
        return say("Whether a linear probe gains from the signal is <strong>not shown</strong>: it could not run.")
    gains = []
    for features, column, rival in (
        ("s_global+signal", "gain", "the global similarity"),
        ("s_global+s_local+signal", "beyond_parts", "the global and the local similarity together"),
    ):
        part = probe[probe["features"].eq(features) & probe[column].notna()]
        if not part.empty:
            row = part.iloc[0]
            adds = "adds to" if row[f"{column}_low"] > 0 else "adds nothing that could be shown to"
            gain = cite_interval(row, column, "points", f"{column}_low", f"{column}_high")
            gains.append(say("{} {} (gain {} points)", adds, rival, gain))
    if not gains:
        return None
    return say("A linear probe for relations: the signal {}.", Markup("; it ").join(gains))


# ------------------------------------------------------------------------------------------------ the method


def _compared(evidence: Evidence, config: Config) -> list[Markup]:
    lora = _own(evidence, "lora")
    if lora.empty:
        return unknown(evidence, "no paired comparison with LoRA")
    found = [_counts(evidence, config, "lora"), _recall(evidence, config), _extremes(evidence, config)]
    return there(*found, _counts(evidence, config, "frozen"), _challenge(evidence, config))


def _counts(evidence: Evidence, config: Config, reference: str) -> Markup | None:
    """On how many measures of all test splits the main method is better or worse than a reference.

    Benchmarks that the text alone solves say nothing about it and are not counted.
    """
    method, path, every = _method(evidence), PLACES["comparisons"][0], _own(evidence, reference)
    part = every[~every["benchmark"].isin(summary.solved_blind(evidence))]
    if part.empty:
        return None
    significant = part["p_holm"] < config.evaluation.level
    better, worse = significant & (part["difference"] > 0), significant & (part["difference"] < 0)
    leads = {(True, False): "Yes", (True, True): "In part", (False, False): "Not shown", (False, True): "No"}
    lead = f"<strong>{leads[bool(better.any()), bool(worse.any())]}</strong>: against"
    how = f"{method} against {reference}, measures {', '.join(summary.PRIMARY)}, p_holm below evaluation.level"
    return say(
        (lead if reference == "lora" else "Against")
        + " <em>{}</em>, <em>{}</em> is significantly better on {} of {} measures, worse on {}"
        + ("." if len(part) == len(every) else "; what the text alone solves is not among them."),
        reference,
        method,
        derived(int(better.sum()), f"better: {how}", path),
        derived(len(part), f"rows: {how}", path),
        derived(int(worse.sum()), f"worse: {how}", path),
    )


def _beyond_grounding(evidence: Evidence, config: Config) -> Markup | None:
    """What the modules add to the grounding of words, where both have it."""
    counted = _counts(evidence, config, "grounding")
    if counted is None:
        return None
    return say("Word grounding alone trains no module; what the modules add to it is the difference. ") + counted


def _recall(evidence: Evidence, config: Config) -> Markup | None:
    """Recall at rank one against LoRA."""
    part = summary.recall_comparisons(evidence, config, "lora")
    if part is None:
        return None
    after = {
        "better": "both count",
        "partly": "one direction counts",
        "undecided": "neither direction counts",
        "worse": "both count as losses",
    }[summary.outcome(part, config)]
    return say("Recall at rank one: {} points; after correction for all tests {}.", _differences(part), after)


def _differences(part: pd.DataFrame) -> Markup:
    return Markup(" and ").join(
        say("{} ({})", cite_interval(row, "difference", "points"), words(row["benchmark"].split("/")[-1]))
        for _, row in part.iterrows()
    )


def _extremes(evidence: Evidence, config: Config) -> Markup | None:
    """The largest and the smallest difference to LoRA outside retrieval."""
    part = summary.of_headline(_own(evidence, "lora"), config)
    part = part[part["measure"] != "r1"]
    if part.empty:
        return None
    ordered = part.assign(label=benchmark_name(part)).sort_values("difference", kind="stable")
    ends = [ordered.iloc[-1], ordered.iloc[0]] if len(ordered) > 1 else [ordered.iloc[0]]
    blind = summary.solved_blind(evidence)
    said = [
        say(
            "{} ({}{})",
            cite_interval(row, "difference", "points"),
            row["label"],
            ", which the text alone solves" if row["benchmark"] in blind else "",
        )
        for row in ends
    ]
    return say("Outside retrieval, {} points.", Markup(" at most and at least ").join(said))


def _method(evidence: Evidence) -> str:
    return summary.main_method(evidence) or ""


def _own(evidence: Evidence, reference: str) -> pd.DataFrame:
    """COMPARISONS of the main method with a reference on the measures that count; empty where there are none."""
    comparisons = evidence.get("comparisons")
    if comparisons is None:
        return pd.DataFrame(columns=["benchmark", "measure", "difference", "p_holm"])
    part = comparisons[comparisons["method"].eq(_method(evidence))]
    return part[part["reference"].eq(reference) & part["measure"].isin(summary.PRIMARY)]


def _challenge(evidence: Evidence, config: Config) -> Markup | None:
    part = summary.recall_comparisons(evidence, config, "frozen")
    if part is None:
        return None
    return say(
        "The challenge of {} points of recall at rank one over the frozen backbone is {}: {}.",
        cite_config(config, "report.challenge", "points"),
        "reached" if (part["difference"] >= config.report.challenge).all() else "not reached",
        _differences(part),
    )


# ---------------------------------------------------------------------------------------------- the failures


def _fails(evidence: Evidence, config: Config) -> list[Markup]:
    found = there(_weakest(evidence, config), _losses(evidence, config), _classes(evidence, config))
    return found or unknown(evidence, "no test split was read")


def _weakest(evidence: Evidence, config: Config) -> Markup | None:
    method, results = _method(evidence), evidence.get("results")
    if results is None:
        return None
    part = results[results["method"].eq(method) & results["convention"].eq("micro")]
    part = summary.of_headline(part[part["measure"].isin(summary.PRIMARY)], config)
    if part.empty:
        return None
    row = part.assign(label=benchmark_name(part)).sort_values("value", kind="stable").iloc[0]
    return say(
        "<strong>Lowest score</strong> of <em>{}</em>: {}, {} % of items solved.",
        method,
        row["label"],
        cite_interval(row, "value", "percent"),
    )


def _losses(evidence: Evidence, config: Config) -> Markup | None:
    """The largest significant loss to the frozen backbone, on any split."""
    part = _own(evidence, "frozen")
    if part.empty:
        return None
    lost = part[(part["p_holm"] < config.evaluation.level) & (part["difference"] < 0)]
    if lost.empty:
        return say("On no measure of any test split is it significantly worse than the frozen backbone.")
    row = lost.sort_values("difference", kind="stable").iloc[0]
    return say(
        "Largest loss to the frozen backbone: {} points on <code>{}</code>, {}.",
        cite_interval(row, "difference", "points"),
        row["benchmark"],
        words(row["measure"]),
    )


def _classes(evidence: Evidence, config: Config) -> Markup | None:
    """How many queries of the first test split fail, and by which class."""
    rates = evidence.get("failure_rates")
    if rates is None:
        return None
    own = rates[rates["method"].eq(_method(evidence)) & rates["phrase_kind"].eq("all")]
    own = own[own["benchmark"].eq(f"{config.evaluation.splits[0]}/all") & (own["count"] > 0)]
    every, classes = own[own["failure"] == "all"], own[own["failure"] != "all"]
    if every.empty:
        return None
    said = Markup(", ").join(
        say("{} {} %", row["failure"], cite_interval(row, "share", "percent", "share_low", "share_high"))
        for _, row in classes.sort_values("share", ascending=False, kind="stable").iterrows()
    )
    failed = cite_interval(every.iloc[0], "rate", "percent")
    return say("Of all its queries {} % fail; of these, by class: {}.", failed, said)


# ------------------------------------------------------------------------------------------------ the repeat


def _repeat(evidence: Evidence, config: Config) -> list[Markup]:
    seeds = ", ".join(str(seed) for seed in config.training.seeds)
    codes = {artifact.provenance["rule"]: artifact.provenance.get("code_digest", "") for artifact in evidence.artifacts}
    return [
        say(
            "With the same code, take the configuration (<code>report/config.yaml</code> of the run, or what stands "
            "under Provenance) as <code>config.yaml</code> and run "
            "<code>snakemake --cores all --configfile config.yaml -- all</code>; <code>make run</code> sets up a fresh "
            "machine first and runs the default."
        ),
        say(
            "Configuration <em>{}</em>, digest <code>{}</code>, seed <code>{}</code>, training seeds <code>{}</code>; "
            "{} rules with their code digests, the versions and the machine are listed there.",
            config.name,
            digest(config)[:10],
            config.seed,
            seeds,
            derived(len(codes), "rules that wrote the artifacts", "the metadata of each file"),
        ),
    ]
