"""The answer in plain words, computed from the tables: also when it is no, and also when it is not known."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from vialign.config import Config
from vialign.report.blocks import say
from vialign.report.evidence import GATES, PLACES, Evidence
from vialign.report.numbers import cite, cite_config, cite_interval, derived
from vialign.tables import NEGATIVE_KINDS

PRIMARY = ("r1", "text", "image", "group", "accuracy", "soft_accuracy")
"""Measures that count for the answer; recall at larger k is shown, but says the same thing twice."""

FLOOR = ("frozen", "lora")
"""The methods that the modules must beat."""


_STOPS = {
    "signal": "the evidence that the signal carries fine-grained information is missing",
    "budget": "the method costs more than the efficiency budget allows",
    "early": "at the early check the full model fell behind the strong baseline, or C moved against it",
}

_OUTCOMES = ("better", "worse", "partly", "undecided")
_NO_GAIN = "no gain in recall at rank one over the frozen backbone could be shown"
_HALF_A_GAIN = (
    "after correction for the number of tests they beat the frozen backbone's recall at rank one in one direction only"
)
_IN_RETRIEVAL = {
    ("better", "better"): "in retrieval they beat both",
    ("better", "worse"): "in retrieval they beat the frozen backbone, and LoRA beats them",
    **{
        ("better", lora): "in retrieval they beat the frozen backbone, but not LoRA in both directions"
        for lora in ("partly", "undecided")
    },
    **{("partly", lora): _HALF_A_GAIN for lora in _OUTCOMES},
    **{("undecided", lora): _NO_GAIN for lora in _OUTCOMES},
    **{("worse", lora): "they make retrieval worse than the frozen backbone" for lora in _OUTCOMES},
}
"""What is said of recall at rank one, by the outcome against the frozen backbone and against LoRA."""
_IN_COMBINING = {
    "worse": "on how concepts combine they are worse",
    "mixed": "on how concepts combine they win some measures and lose others",
    "undecided": "on how concepts combine no gain over both the frozen backbone and LoRA could be shown",
    "unmeasured": "how concepts combine was not measured",
}


@dataclass(frozen=True)
class Badge:
    """What one gate decided."""

    gate: str
    action: str
    words: str


def badges(evidence: Evidence) -> list[Badge]:
    """One badge a gate; `none` where the gate was not reached."""
    words = {"go": "passed", "warn": "warned, run went on", "stop": "stopped the run", "none": "not reached"}
    found = []
    for gate in GATES:
        verdict = evidence.get(f"gate_{gate}")
        action = "none" if verdict is None else str(verdict["action"].iloc[0])
        found.append(Badge(gate, action, words[action]))
    return found


def main_method(evidence: Evidence) -> str | None:
    """The method the answer is about: the chosen combination where it was compared, else the full model."""
    comparisons = evidence.get("comparisons")
    if comparisons is None:
        return None
    methods = set(comparisons["method"])
    ablation = evidence.get("ablation")
    chosen = [] if ablation is None else ablation.loc[ablation["chosen"], "method"].tolist()
    return next((name for name in (*chosen, "vialign") if name in methods), None)


def headline(evidence: Evidence, config: Config) -> str:
    """The answer in one sentence."""
    if evidence.stopped:
        return f"Not shown: the run stopped at the {evidence.stopped} gate, because {_STOPS[evidence.stopped]}."
    wins = {reference: _retrieval(evidence, config, reference) for reference in FLOOR}
    if any(part is None for part in wins.values()):
        return "Not known yet: this run did not hold the modules against both the frozen backbone and LoRA."
    frozen, lora = (_outcome(part, config) for part in wins.values() if part is not None)
    combining, retrieval = _combining(evidence, config), frozen == "better" and lora == "better"
    law = "" if _budget_kept(evidence) else ", but outside the efficiency budget"
    both = "the modules beat both the frozen backbone and LoRA"
    if combining == "better" and retrieval:
        return f"Yes, on this data: {both} on how concepts combine and in retrieval{law}."
    if combining == "better":
        return f"Partly, on this data: {both} on how concepts combine{law}; {_IN_RETRIEVAL[frozen, lora]}."
    if retrieval and combining == "unmeasured":
        return f"Yes, on this data: {both} in retrieval{law}."
    if retrieval:
        return f"Partly, on this data: {both} in retrieval{law}; {_IN_COMBINING[combining]}."
    if frozen == "worse":
        return "No: on this data the modules make retrieval worse than the frozen backbone."
    answer = "Partly" if frozen in ("better", "partly") else "No"
    retrieved = _IN_RETRIEVAL[frozen, lora].replace("they", "the modules", 1)
    return f"{answer}, on this data: {retrieved}; {_IN_COMBINING[combining]}."


def sentences(evidence: Evidence, config: Config) -> list[Markup]:
    """The answer's reasons, one sentence an organ; organs that did not run say nothing."""
    found = [_signal(evidence, config), _probe(evidence), *_comparison(evidence, config), _challenge(evidence, config)]
    return [sentence for sentence in [*found, _budget(evidence)] if sentence]


def _outcome(part: pd.DataFrame, config: Config) -> str:
    """`better` or `worse` when every row is significantly so, `partly` when one is better and none worse."""
    significant = part["p_holm"] < config.evaluation.level
    better, worse = significant & (part["difference"] > 0), significant & (part["difference"] < 0)
    if better.all():
        return "better"
    if better.any() and not worse.any():
        return "partly"
    return "worse" if worse.all() else "undecided"


def _combining(evidence: Evidence, config: Config) -> str:
    """How the modules fare, against both references, where only the combination of concepts decides.

    `better` when they win a measure against both and lose none to either, `worse` the other way round, `mixed` when
    they win and lose, `undecided` when neither can be shown, `unmeasured` without such a benchmark.
    """
    method, comparisons = main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return "unmeasured"
    split = config.evaluation.splits[0]
    own = comparisons[comparisons["method"].eq(method) & comparisons["reference"].isin(FLOOR)]
    names = own["benchmark"].astype(str)
    own = own[names.str.startswith(f"{split}/") & ~names.isin(_retrieval_names(config)) & own["measure"].isin(PRIMARY)]
    if own.empty:
        return "unmeasured"
    significant = own["p_holm"] < config.evaluation.level
    place = [own["benchmark"], own["measure"]]
    won = bool((significant & (own["difference"] > 0)).groupby(place).all().any())
    lost = bool((significant & (own["difference"] < 0)).any())
    return {(True, False): "better", (False, True): "worse", (True, True): "mixed", (False, False): "undecided"}[
        won, lost
    ]


def _retrieval_names(config: Config) -> tuple[str, str]:
    split = config.evaluation.splits[0]
    return f"{split}/text_to_image", f"{split}/image_to_text"


def _retrieval(evidence: Evidence, config: Config, reference: str) -> pd.DataFrame | None:
    method, comparisons = main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return None
    names = _retrieval_names(config)
    mask = comparisons["method"].eq(method) & comparisons["reference"].eq(reference)
    part = comparisons[mask & comparisons["benchmark"].isin(names) & comparisons["measure"].eq("r1")]
    return None if part.empty else part


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
        best["kind"].replace("_", " "),
        cite_interval(best, "auc", "fraction"),
    )
    if best["kind"] in plain.index:
        text += say("; the global similarity alone has {}", cite_interval(plain.loc[best["kind"]], "auc", "fraction"))
    if best["kind"] in blind.index:
        text += say("; the text alone has {}", cite_interval(blind.loc[best["kind"]], "auc", "fraction"))
    weakest = ours.iloc[0]
    return text + say(
        ". It is weakest for <em>{}</em>, with {}.",
        weakest["kind"].replace("_", " "),
        cite_interval(weakest, "auc", "fraction"),
    )


def _probe(evidence: Evidence) -> Markup | None:
    probe = evidence.get("probe")
    part = None if probe is None else probe[probe["features"].eq("s_global+signal") & probe["gain"].notna()]
    if part is None or part.empty:
        return None
    row = part.iloc[0]
    adds = "adds to" if row["gain_low"] > 0 else "adds nothing that could be shown to"
    gain = cite_interval(row, "gain", "points", "gain_low", "gain_high")
    return say("A linear probe for relations: the signal {} the global similarity (gain {} points).", adds, gain)


def _comparison(evidence: Evidence, config: Config) -> list[Markup]:
    method, comparisons = main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return []
    found = []
    for reference in FLOOR:
        part = comparisons[comparisons["method"].eq(method) & comparisons["reference"].eq(reference)]
        part = part[part["measure"].isin(PRIMARY)]
        if part.empty:
            continue
        significant = part["p_holm"] < config.evaluation.level
        better, worse = significant & (part["difference"] > 0), significant & (part["difference"] < 0)
        path = PLACES["comparisons"][0]
        how = f"{method} against {reference}, measures {', '.join(PRIMARY)}, p_holm below evaluation.level"
        found.append(
            say(
                "Against <em>{}</em>, <em>{}</em> is significantly better on {} of {} measures, worse on {}.",
                reference,
                method,
                derived(int(better.sum()), f"better: {how}", path),
                derived(len(part), f"rows: {how}", path),
                derived(int(worse.sum()), f"worse: {how}", path),
            )
        )
    return found


def _challenge(evidence: Evidence, config: Config) -> Markup | None:
    part = _retrieval(evidence, config, "frozen")
    if part is None:
        return None
    measured = Markup(" and ").join(
        say("{} points ({})", cite_interval(row, "difference", "points"), row["benchmark"].split("/")[-1])
        for _, row in part.iterrows()
    )
    reached = (part["difference"] >= config.report.challenge).all()
    return say(
        "The challenge of {} points of recall at rank one over the frozen backbone is {}: {}.",
        cite_config(config, "report.challenge", "points"),
        "reached" if reached else "not reached",
        measured.replace("_", " "),
    )


def _budget_kept(evidence: Evidence) -> bool:
    verdict = evidence.get("gate_budget")
    return verdict is not None and bool(verdict.loc[verdict["required"], "met"].all())


def _budget(evidence: Evidence) -> Markup | None:
    verdict = evidence.get("gate_budget")
    if verdict is None:
        return None
    broken = verdict[verdict["required"] & ~verdict["met"]]
    if broken.empty:
        # Times on a small backbone inform without binding; a reader must not take them for kept.
        if bool((verdict["criterion"].str.startswith("vialign on") & ~verdict["met"]).any()):
            return say(
                "Every limit of the efficiency budget that binds is kept; some that only inform are not (Gates)."
            )
        return say("Every limit of the efficiency budget is kept.")
    first = broken.iloc[0]
    return say(
        "The efficiency budget is broken: {} (measured {}, limit {}).",
        quote(first, "criterion"),
        cite_interval(first, "value", "number"),
        cite(first, "threshold", "number"),
    )


def quote(row: pd.Series, column: str) -> Markup:
    """Words of a table, marked with where they stand."""
    template = Markup('<q data-source="{}" data-row="{}" data-column="{}">{}</q>')
    return template.format(row["_file"], row["_row"], column, row[column])
