"""The design review of a stopped run: which rule broke, on what evidence, and what to try first.

A suggestion appears only when the tables speak for it; its weight says how strongly, and orders the list.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.blocks import say
from vialign.report.evidence import Evidence
from vialign.report.numbers import cite, cite_config, cite_interval
from vialign.tables.data import NEGATIVE_KINDS


@dataclass(frozen=True)
class Suggestion:
    """One thing to try."""

    weight: float
    """How strongly the evidence speaks for it: 1 certain, 0 a guess."""
    text: Markup
    sources: tuple[str, ...]
    """Tables that speak for it."""


Rule = Callable[[Evidence, Config], list[Suggestion]]


def suggestions(evidence: Evidence, config: Config) -> list[Suggestion]:
    """What to try, strongest evidence first."""
    rules = {"signal": _SIGNAL, "budget": _BUDGET, "early": _EARLY}[evidence.stopped or "signal"]
    found = [suggestion for rule in (_control, _reproduction, *rules) for suggestion in rule(evidence, config)]
    return sorted(found, key=lambda suggestion: -suggestion.weight)


def going_on(gate: str, called: Mapping[str, Any] | None) -> str:
    """The command that takes a run up again which `gate` stopped, warned of what is missing.

    `called` is how the run was called: `files`, the paths of each option, and `config`, what the command line set.
    """
    given = called or {"files": {}, "config": {}}
    sections = {**given["config"]}
    gates = dict(sections.get("gates") or {})
    sections["gates"] = {**gates, gate: {**(gates.get(gate) or {}), "action": "warn"}}
    words = ["snakemake", "--cores", "2"]
    for option, paths in given["files"].items():
        words += [option, *paths] if paths else []
    words += ["--config", *(f"{name}={json.dumps(value)}" for name, value in sections.items()), "--", "all"]
    return shlex.join(words)


def _control(evidence: Evidence, config: Config) -> list[Suggestion]:
    if not config.signal.shuffle_prototypes:
        return []
    text = say(
        "The negative control <code>signal.shuffle_prototypes</code> is {}: every image has the prototypes of another, "
        "and a stop is the right outcome. Switch it off for a real run.",
        cite_config(config, "signal.shuffle_prototypes", "flag"),
    )
    return [Suggestion(1.0, text, ("config",))]


def _reproduction(evidence: Evidence, config: Config) -> list[Suggestion]:
    table = evidence.get("reproduction")
    if table is None or table["passed"].all():
        return []
    row = table[~table["passed"]].iloc[0]
    text = say(
        "The frozen backbone does not reproduce its published numbers (<em>{} {}</em>: measured {}, published {}). "
        "Likely cause: {}. Mend that first; nothing measured with it counts.",
        row["benchmark"],
        row["metric"],
        cite(row, "measured", "number"),
        cite(row, "published", "number"),
        row["cause"],
    )
    return [Suggestion(0.95, text, (evidence.path("reproduction"),))]


def _readable_embedding(evidence: Evidence, config: Config) -> list[Suggestion]:
    probe = evidence.get("probe")
    if probe is None:
        return []
    rows = {row["features"]: row for _, row in probe.iterrows()}
    whole = rows.get("embedding")
    if whole is None:
        return []
    path = (evidence.path("probe"),)
    if whole["low"] <= whole["chance"]:
        text = say(
            "Even the whole frozen embedding does not tell the relations apart (balanced accuracy {}, chance {}): "
            "the backbone lacks them. Try another backbone or larger input before changing the signal.",
            cite_interval(whole, "accuracy", "fraction"),
            cite(whole, "chance", "fraction"),
        )
        return [Suggestion(0.9, text, path)]
    signal = rows.get("signal")
    if signal is None or signal["high"] >= whole["low"]:
        return []
    text = say(
        "The frozen embedding holds relations (balanced accuracy {}) that the signal does not carry ({}): "
        "the loss happens in disentangling or matching. Look at the patch readout and the dictionary.",
        cite_interval(whole, "accuracy", "fraction"),
        cite_interval(signal, "accuracy", "fraction"),
    )
    return [Suggestion(0.8, text, path)]


def _prototypes(evidence: Evidence, config: Config) -> list[Suggestion]:
    """The dictionary is not better than its floor on some measure that both have."""
    quality = evidence.get("visual_quality")
    if quality is None:
        return []
    found = []
    compared = quality[quality["measure"] != "maps"]  # among how many the best was taken: no measure of quality
    for (domain, measure), part in compared.groupby(["domain", "measure"], sort=False):
        floor = part[part["subject"].str.contains("random|k-means|kmeans|attention", case=False)]
        ours = part[part["subject"].str.contains("dictionary|visual|prototype|trained", case=False)]
        ours = ours[~ours.index.isin(floor.index)]
        if floor.empty or ours.empty:
            continue
        best, mine = floor.sort_values("value").iloc[-1], ours.sort_values("value").iloc[-1]
        if mine["value"] > best["value"]:
            continue
        text = say(
            "The prototypes are no better than the floor on {} ({}): {} against {} for <em>{}</em>. "
            "Raise <code>visual.purity</code> or <code>visual.steps</code>, or try another readout.",
            measure,
            domain,
            cite_interval(mine, "value", "fraction"),
            cite_interval(best, "value", "fraction"),
            best["subject"],
        )
        found.append(Suggestion(0.7, text, (evidence.path("visual_quality"),)))
    return found[:1]


def _phrases(evidence: Evidence, config: Config) -> list[Suggestion]:
    quality = evidence.get("text_quality")
    if quality is None:
        return []
    spans = quality[quality["measure"].str.contains("f1", case=False)]
    mixed = spans[spans["subject"].str.contains("mixed")]
    spans = spans if mixed.empty else mixed
    if spans.empty:
        return []
    worst = spans.sort_values("value").iloc[0]
    weight = 0.6 * (1 - min(1.0, max(0.0, float(worst["value"]))))
    text = say(
        "Phrase units are weakest for <em>{}</em> on {}: {} {}. A relation that is not found as a phrase cannot be "
        "matched; raise <code>language.sentences</code> or <code>text.steps</code>.",
        worst["subject"],
        worst["domain"],
        worst["measure"],
        cite_interval(worst, "value", "fraction"),
    )
    return [Suggestion(weight, text, (evidence.path("text_quality"),))]


def _near_miss(evidence: Evidence, config: Config) -> list[Suggestion]:
    """No hard negative passes, and the best misses only because its interval is wide."""
    diagnosis = evidence.get("diagnosis")
    if diagnosis is None:
        return []
    ours = diagnosis[diagnosis["signal"].eq(config.signal.driver) & diagnosis["kind"].isin(NEGATIVE_KINDS)]
    limit = config.gates.signal.minimum_auc
    near = ours[ours["auc"] > limit].sort_values("auc")
    if near.empty or (near["low"] > limit).any():
        return []
    row = near.iloc[-1]
    text = say(
        "For <em>{}</em> the AUC {} lies above the threshold {} but its interval does not: raise "
        "<code>signal.pairs</code> (now {}) before changing the method.",
        row["kind"].replace("_", " "),
        cite_interval(row, "auc", "fraction"),
        cite_config(config, "gates.signal.minimum_auc", "fraction"),
        cite_config(config, "signal.pairs", "count"),
    )
    return [Suggestion(0.65, text, (evidence.path("diagnosis"),))]


def _variant(evidence: Evidence, config: Config) -> list[Suggestion]:
    """Another form of the signal does better than the one in use."""
    diagnosis = evidence.get("diagnosis")
    if diagnosis is None:
        return []
    hard = diagnosis[diagnosis["kind"].isin(NEGATIVE_KINDS) & diagnosis["signal"].ne("s_global")]
    ours = hard[hard["signal"] == config.signal.driver]
    if ours.empty:
        return []
    best, mine = hard.sort_values("auc").iloc[-1], ours.sort_values("auc").iloc[-1]
    if best["low"] <= mine["high"]:
        return []
    text = say(
        "<em>{}</em> separates <em>{}</em> better than the signal in use: AUC {} against {}. "
        "The information is there; the formula of the score loses it.",
        best["signal"],
        best["kind"].replace("_", " "),
        cite_interval(best, "auc", "fraction"),
        cite_interval(mine, "auc", "fraction"),
    )
    return [Suggestion(0.75, text, (evidence.path("diagnosis"),))]


def _broken_limits(evidence: Evidence, config: Config) -> list[Suggestion]:
    ledger = evidence.get("budget")
    if ledger is None:
        return []
    found = []
    for _, row in ledger[ledger["outcome"].isin(("broken", "undecided"))].iterrows():
        noisy = row["outcome"] == "undecided"
        advice = (
            "the measurement cannot tell: raise <code>budget.rounds</code>, or measure on a quieter machine"
            if noisy
            else "shrink <code>curriculum.rank</code>, <code>curriculum.head_rank</code> or <code>text.width</code>"
        )
        text = say(
            "<em>{}</em> at the size of {}: {} is {} {}, limit {}; " + advice + ".",
            row["method"],
            row["backbone"],
            row["measure"],
            cite_interval(row, "value", "number"),
            row["unit"],
            cite(row, "limit", "number"),
        )
        excess = 1.0 if pd.isna(row["value"]) else min(1.0, row["value"] / row["limit"] / 4)
        found.append(Suggestion(0.5 if noisy else 0.5 + 0.4 * excess, text, (evidence.path("budget"),)))
    return found


def _curves(evidence: Evidence, config: Config) -> list[Suggestion]:
    """The full model still rises at the early check, or falls from the start."""
    monitor = evidence.get("early_monitor")
    part = None if monitor is None else monitor[monitor["method"] == "vialign"].sort_values(["seed", "step"])
    if part is None or part["step"].nunique() < 2:
        return []
    seed = part[part["seed"] == part["seed"].min()]
    first, before, last = seed.iloc[0], seed.iloc[-2], seed.iloc[-1]
    path = (evidence.path("early_monitor"),)
    rate = "<code>training.learning_rates</code>"
    if last["recall"] < first["recall"]:
        text = say(
            "Selection recall of the full model falls from {} to {} (step {}): lower its rate in " + rate + ".",
            cite(first, "recall", "fraction"),
            cite(last, "recall", "fraction"),
            cite(last, "step", "count"),
        )
        return [Suggestion(0.85, text, path)]
    if last["recall"] > before["recall"]:
        text = say(
            "Selection recall of the full model still rises at the early check ({} after {}): raise "
            "<code>training.early_steps</code> or its rate in " + rate + ".",
            cite(last, "recall", "fraction"),
            cite(before, "recall", "fraction"),
        )
        return [Suggestion(0.7, text, path)]
    return []


def _parted(evidence: Evidence, config: Config) -> list[Suggestion]:
    """An early warning that counted as missing evidence."""
    verdict, path = evidence.get("gate_early"), evidence.path("early_monitoring")
    if verdict is None:
        return []
    broken = verdict[(verdict["evidence"] == path) & verdict["required"] & ~verdict["met"]]
    return [
        Suggestion(
            0.8,
            say(
                "C and the selection metric move apart (rank correlation {}): lower "
                "<code>curriculum.consistency</code>, which pushes C, or choose another <code>signal.driver</code>.",
                cite_interval(row, "value", "fraction"),
            ),
            (path,),
        )
        for _, row in broken.iterrows()
    ]


def _weak_signal(evidence: Evidence, config: Config) -> list[Suggestion]:
    verdict = evidence.get("gate_signal")
    weak = None if verdict is None else verdict[verdict["required"] & ~verdict["met"]]
    if weak is None or weak.empty:
        return []
    text = say(
        "The signal gate already warned: {} of its required criteria do not hold. "
        "Modules driven by a weak signal cannot help; mend the signal first.",
        Markup('<data value="{0}" data-source="{1}" data-derived="rows not met">{0}</data>').format(
            len(weak), evidence.path("gate_signal")
        ),
    )
    return [Suggestion(0.6, text, (evidence.path("gate_signal"),))]


_SIGNAL: tuple[Rule, ...] = (_readable_embedding, _variant, _prototypes, _near_miss, _phrases)
_BUDGET: tuple[Rule, ...] = (_broken_limits,)
_EARLY: tuple[Rule, ...] = (_curves, _parted, _weak_signal, _readable_embedding)
