"""The early gate: is the full model not significantly worse than LoRA on `gate` after the early steps?"""

import pandas as pd

from vialign.config.gates import EarlyGateConfig
from vialign.evaluation.core_score import core_scores
from vialign.evaluation.two_level import two_level
from vialign.gates.verdict import with_action
from vialign.signal.validation.monitoring import EarlyWarning
from vialign.tables.evaluation import OUTCOMES


def early_verdict(
    outcomes: pd.DataFrame,
    warning: EarlyWarning | None,
    gate: EarlyGateConfig,
    level: float = 0.05,
    method: str = "vialign",
    reference: str = "lora",
    evidence: str = "gates/early_outcomes.parquet",
) -> pd.DataFrame:
    """VERDICT of the early gate, from `core_outcomes` on `gate` of both methods at the early check, all seeds.

    It fires when the full model's score, the mean of recall and accuracy against negatives by which combinations are
    chosen, is significantly below the reference's: when the whole interval of the paired difference, by the two-level
    model of images and seeds (`vialign.evaluation.two_level`), lies under zero. The two parts are informative. Without
    negatives the score is recall alone. `warning` is what `early_warning` found of the full model; its criterion binds
    where `gate.warning` says so, and only where it is available. Raises ValueError when the outcomes lack one of the
    methods, and UserError when both were not evaluated on the same queries.
    """
    OUTCOMES.check(outcomes)
    for name in (method, reference):
        if name not in set(outcomes["method"]):
            raise ValueError(f"early gate: no outcomes on the split gate of {name}")
    scores = core_scores(outcomes[outcomes["method"].isin([method, reference])])
    rows = []
    for part, values in scores.parts.items():
        found = two_level(values, [scores.difference(method, reference)])
        low, high = (float(end[0]) for end in found.interval(level))
        seeds = int(found.seeds[0])
        over = f"images and {seeds} seeds" if seeds > 1 else "images alone, as there is one seed"
        reason = f"paired, two-level model over {over}: two-sided p = {found.p_value[0]:.3g} of t({found.df[0]:.3g})"
        if part == "score":
            reason += "; a difference counts as worse when its whole interval is under zero"
        rows.append(
            {
                "criterion": f"{_NAMES[part]}: {method} is not significantly worse than {reference}",
                "value": float(found.value[0]),
                "low": low,
                "high": high,
                "threshold": 0.0,
                "met": high >= 0,
                "required": part == "score",
                "evidence": evidence,
                "reason": reason,
            }
        )
    if "negatives" not in scores.parts:
        rows.append(
            {
                "criterion": f"{_NAMES['negatives']}: {method} is not significantly worse than {reference}",
                "value": None,
                "low": None,
                "high": None,
                "threshold": 0.0,
                "met": False,
                "required": False,
                "evidence": evidence,
                "reason": "not available: no caption of the split gate has a rule-made negative",
            }
        )
    return with_action("early", [*rows, _warning_row(warning, gate, method)], gate)


def _warning_row(warning: EarlyWarning | None, gate: EarlyGateConfig, method: str) -> dict[str, object]:
    """The early-warning rule as a criterion."""
    reason = "not available: too few checks, or a C or a metric that never changes"
    if warning is not None:
        reason = (
            f"rank correlation over the last {warning.checks} light checks of each seed, averaged over seeds (artanh); "
            "a warning when its whole interval, from shuffled orders, is under zero; drift alone can cause one"
        )
    return {
        "criterion": f"no early warning: mean C and selection metric of {method} do not move apart",
        "value": None if warning is None else warning.correlation,
        "low": None if warning is None else warning.low,
        "high": None if warning is None else warning.high,
        "threshold": 0.0,
        "met": warning is not None and not warning.warned,
        "required": warning is not None and gate.warning == "stop",
        "evidence": "gates/early_monitoring.parquet",
        "reason": reason,
    }


_NAMES = {
    "score": "mean of R@1 and accuracy against negatives",
    "recall": "R@1, mean of both directions",
    "negatives": "accuracy against rule-made negatives",
}
