"""The early gate: is the full model not significantly worse than LoRA on `gate` after the early steps?"""

import numpy as np
import pandas as pd

from vialign.config.gates import EarlyGateConfig
from vialign.evaluation.statistics import interval, normal_p_value, replicate_means, seed_weights
from vialign.gates.verdict import with_action
from vialign.signal.validation.monitoring import EarlyWarning
from vialign.tables.evaluation import OUTCOMES

EARLY_MEASURES = {
    "recall": (("gate/image_to_text", "r1"), ("gate/text_to_image", "r1")),
    "negatives": (("gate/negatives", "accuracy"),),
}
"""What the early gate compares: mean R@1 of both directions, and accuracy against rule-made negatives."""


def early_verdict(
    outcomes: pd.DataFrame,
    warning: EarlyWarning | None,
    gate: EarlyGateConfig,
    level: float = 0.05,
    replicates: int = 2000,
    seed: int = 0,
    method: str = "vialign",
    reference: str = "lora",
    evidence: str = "gates/early_outcomes.parquet",
) -> pd.DataFrame:
    """VERDICT of the early gate, from `core_outcomes` on `gate` of both methods at the early check, all seeds.

    It fires when the full model's score, the mean of recall and accuracy against negatives by which combinations are
    chosen, is significantly below the reference's: when the whole paired bootstrap interval (images, then seeds) of
    the difference lies under zero. The two parts are informative. Without negatives the score is recall alone.
    `warning` is what `early_warning` found of the full model; its criterion binds where `gate.warning` says so, and
    only where it is available. Raises ValueError when the outcomes lack one of the methods.
    """
    OUTCOMES.check(outcomes)
    for name in (method, reference):
        if name not in set(outcomes["method"]):
            raise ValueError(f"early gate: no outcomes on the split gate of {name}")
    value, drawn = {}, {}
    for name in (method, reference):
        value[name], drawn[name] = _validation_means(outcomes, name, replicates, seed)
    rows = []
    parts = list(value[method])
    for part in parts:
        difference = value[method][part] - value[reference][part]
        spread = drawn[method][part] - drawn[reference][part]
        low, high = (float(end) for end in interval(spread, level))
        p_value = normal_p_value(difference, float(spread.std(ddof=1)))
        reason = f"paired bootstrap over images and seeds, two-sided p = {p_value:.3g}"
        if part == "score":
            reason += "; a difference counts as worse when its whole interval is under zero"
        rows.append(
            {
                "criterion": f"{_NAMES[part]}: {method} is not significantly worse than {reference}",
                "value": difference,
                "low": low,
                "high": high,
                "threshold": 0.0,
                "met": high >= 0,
                "required": part == "score",
                "evidence": evidence,
                "reason": reason,
            }
        )
    if "negatives" not in parts:
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


def _validation_means(
    outcomes: pd.DataFrame, method: str, replicates: int, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Value and bootstrap of score, recall and negatives of one method over images and seeds.

    Images are those of all outcomes, in one order, so every method meets the same resamples.
    """
    images = {name: code for code, name in enumerate(sorted(outcomes["image_id"].unique()))}
    own = outcomes[outcomes["method"] == method]
    seeds = sorted(int(number) for number in own["seed"].unique())
    weights = seed_weights(seeds, replicates, seed)
    value: dict[str, float] = {}
    drawn: dict[str, np.ndarray] = {}
    for part, sources in EARLY_MEASURES.items():
        values, draws = [], []
        for benchmark, measure in sources:
            chosen = own[(own["benchmark"] == benchmark) & (own["measure"] == measure)]
            if chosen.empty:
                continue
            sums = np.zeros((len(images), len(seeds), 1))
            row, column = chosen["image_id"].map(images).to_numpy(), np.searchsorted(seeds, chosen["seed"].to_numpy())
            np.add.at(sums[:, :, 0], (row, column), chosen["value"].to_numpy(np.float64))
            counts = np.bincount(row, minlength=len(images))[:, None] / len(seeds)
            values.append(sums.sum() / counts.sum() / len(seeds))
            draws.append((weights * replicate_means(sums, counts, replicates, seed)[:, :, 0]).sum(axis=1))
        if values:
            value[part], drawn[part] = float(np.mean(values)), np.mean(draws, axis=0)
    value = {"score": float(np.mean(list(value.values()))), **value}
    drawn = {"score": np.mean(list(drawn.values()), axis=0), **drawn}
    return value, drawn
