"""The answer in plain words, computed from the tables: also when it is no, and also when it is not known."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from vialign.analysis.attribution.names import DRIVER
from vialign.config.experiment import Config
from vialign.data.benchmarks.items import PAIRS_CHANCE
from vialign.gates.verdict import missed, not_shown, undecided
from vialign.report.evidence import GATES, Evidence

PRIMARY = (
    "r1",
    "text",
    "image",
    "group",
    "accuracy",
    "soft_accuracy",
    "both_right",
    "image_choice",
    "statement",
)
"""Measures that count for the answer; recall at larger k is shown, but says the same thing twice."""

LimitOutcome = Literal["kept", "undecided", "broken"]

FLOOR = ("frozen", "lora")
"""The methods that the modules must beat."""


_STOPS = {
    "signal": "the evidence that the signal carries fine-grained information is missing",
    "budget": "the method costs more than the efficiency budget allows",
    "undecided": "this machine could not tell whether the method is inside the efficiency budget (budget.strict)",
    "early": "at the early check the full model fell behind the strong baseline, or C moved against it",
}

_COST = {
    "kept": "",
    "undecided": "; whether that is inside the efficiency budget this machine could not tell",
    "broken": ", but outside the efficiency budget",
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
    "guessing": "on how concepts combine they are above both the frozen backbone and LoRA, but nowhere above guessing",
    "unmeasured": "no benchmark that needs the image asks how concepts combine",
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
        open_ = action == "go" and verdict is not None and len(undecided(verdict))
        said = "not stopped, in part undecided" if open_ else words[action]
        if action in ("warn", "stop") and verdict is not None and len(not_shown(verdict)) == len(missed(verdict)):
            said = f"not shown, run {'stopped' if action == 'stop' else 'went on'}"
        found.append(Badge(gate, action, said))
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
    """The answer: what was gained, and whether the signal drives it."""
    return f"{_gained(evidence, config)}{_driven(evidence)}"


def _driven(evidence: Evidence) -> str:
    """Whether the signal drives the gain, as a second sentence; nothing where that was not asked."""
    found, method = evidence.get("carriers"), main_method(evidence)
    if found is None or evidence.stopped:
        return ""
    own = found[found["method"] == method]
    rest = own[own["claim"].ne(DRIVER) & own["holds"]]["claim"].tolist()
    driver = own.loc[own["claim"] == DRIVER, "holds"]
    listed = " and ".join(filter(None, [", ".join(rest[:-1]), *rest[-1:]]))
    if driver.empty:
        return f" What the gain needs: {listed}." if rest else " Nothing that was replaced is shown to carry the gain."
    if bool(driver.iloc[0]):
        drives = " The signal drives it: no constant and no shuffle in C's place does as well."
        return f"{drives} It needs {listed} too." if rest else drives
    other = f"What it needs is {listed}." if rest else "Nothing else that was replaced is shown to carry it either."
    return f" The signal does not drive it: without C no loss could be shown. {other}"


def _gained(evidence: Evidence, config: Config) -> str:
    if evidence.stopped:
        open_ = evidence.stopped == "budget" and budget_outcome(evidence) != "broken"
        why = _STOPS["undecided" if open_ else evidence.stopped]
        return f"Not shown: the run stopped at the {evidence.stopped} gate, because {why}."
    wins = {reference: recall_comparisons(evidence, config, reference) for reference in FLOOR}
    if any(part is None for part in wins.values()):
        return "Not known yet: this run did not hold the modules against both the frozen backbone and LoRA."
    frozen, lora = (outcome(part, config) for part in wins.values() if part is not None)
    combining, retrieval = _combining(evidence, config), frozen == "better" and lora == "better"
    cost = _COST[budget_outcome(evidence)]
    both = "the modules beat both the frozen backbone and LoRA"
    if combining == "better" and retrieval:
        return f"Yes, on this data: {both} on how concepts combine and in retrieval{cost}."
    if combining == "better":
        return f"Partly, on this data: {both} on how concepts combine{cost}; {_IN_RETRIEVAL[frozen, lora]}."
    if retrieval and combining == "unmeasured":
        return f"Yes, on this data: {both} in retrieval{cost}."
    if retrieval:
        return f"Partly, on this data: {both} in retrieval{cost}; {_IN_COMBINING[combining]}."
    if frozen == "worse":
        return "No: on this data the modules make retrieval worse than the frozen backbone."
    answer = "Partly" if frozen in ("better", "partly") else "No"
    retrieved = _IN_RETRIEVAL[frozen, lora].replace("they", "the modules", 1)
    return f"{answer}, on this data: {retrieved}; {_IN_COMBINING[combining]}."


def outcome(part: pd.DataFrame, config: Config) -> str:
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

    That is outside retrieval, on the first test split and the benchmarks but VQA v2, whose questions are of all kinds.
    What a classifier solves without seeing an image says nothing about it and does not count. `better` when they win a
    measure against both and lose none to either, `worse` the other way round, `mixed` when they win and lose,
    `undecided` when neither can be shown, `unmeasured` without such a benchmark. A scorer may be worse than guessing:
    one that prefers a caption whatever the image never wins an item of two captions and two images. Whatever shakes its
    scores then looks like a gain: `guessing` when they win only where their own interval reaches down to chance.
    """
    method, comparisons = main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return "unmeasured"
    own = comparisons[comparisons["method"].eq(method) & comparisons["reference"].isin(FLOOR)]
    own = of_headline(own, config)
    names = own["benchmark"].astype(str)
    asked = ~names.isin(solved_blind(evidence)) & ~names.str.startswith("vqa/")
    own = own[asked & own["measure"].isin(PRIMARY) & own["measure"].ne("r1")]
    if own.empty:
        return "unmeasured"
    significant = own["p_holm"] < config.evaluation.level
    place = [own["benchmark"], own["measure"]]
    wins = (significant & (own["difference"] > 0)).groupby(place).all()
    won = any(not _may_guess(evidence, method, str(name), str(measure)) for name, measure in wins[wins].index)
    lost = bool((significant & (own["difference"] < 0)).any())
    if wins.any() and not won and not lost:
        return "guessing"
    return {(True, False): "better", (False, True): "worse", (True, True): "mixed", (False, False): "undecided"}[
        won, lost
    ]


def _may_guess(evidence: Evidence, method: str, benchmark: str, measure: str) -> bool:
    """Whether the method's interval on a measure reaches down to what guessing gives; no where that is not known."""
    results, blind = evidence.get("results"), evidence.get("blind")
    if results is None or blind is None:
        return False
    known = blind.loc[blind["benchmark"] == benchmark, "chance"].tolist()
    chance = PAIRS_CHANCE.get(measure, known[0] if known else None)
    own = results[results["method"].eq(method) & results["benchmark"].eq(benchmark) & results["measure"].eq(measure)]
    own = own[own["convention"] == "micro"]  # the mean that is compared
    return chance is not None and bool((own["low"] <= chance).any())


def of_headline(rows: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The rows on the splits that the answer is about (`Config.headline_splits`)."""
    return rows[rows["benchmark"].astype(str).str.startswith(tuple(f"{split}/" for split in config.headline_splits))]


def solved_blind(evidence: Evidence) -> set[str]:
    """Benchmarks that the text alone solves."""
    blind = evidence.get("blind")
    return set() if blind is None else set(blind.loc[blind["solved"], "benchmark"].astype(str))


def _retrieval_names(config: Config) -> tuple[str, str]:
    split = config.evaluation.splits[0]
    return f"{split}/text_to_image", f"{split}/image_to_text"


def recall_comparisons(evidence: Evidence, config: Config, reference: str) -> pd.DataFrame | None:
    """COMPARISONS of recall at rank one of the main method with a reference, one row a direction."""
    method, comparisons = main_method(evidence), evidence.get("comparisons")
    if method is None or comparisons is None:
        return None
    names = _retrieval_names(config)
    mask = comparisons["method"].eq(method) & comparisons["reference"].eq(reference)
    part = comparisons[mask & comparisons["benchmark"].isin(names) & comparisons["measure"].eq("r1")]
    return None if part.empty else part


def budget_outcome(evidence: Evidence) -> LimitOutcome:
    """`broken` when a binding limit of the efficiency budget is, `undecided` when none is but of one nothing is known.

    A time that the clock could not tell counts as kept where the counted work of its stage is (`gates.verdict`).

    A run without the gate's verdict has kept nothing: that is `undecided` too.
    """
    verdict = evidence.get("gate_budget")
    if verdict is None:
        return "undecided"
    open_ = verdict[verdict["required"] & ~verdict["met"]]
    if not open_["undecided"].all():
        return "broken"
    return "undecided" if len(undecided(verdict)) else "kept"
