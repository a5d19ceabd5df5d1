"""The signal gate: is there evidence that the signal carries fine-grained information? One row a criterion."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from vialign.config.gates import SignalGateConfig
from vialign.config.signal import SignalConfig
from vialign.gates.verdict import NOT_SHOWN
from vialign.random import generator
from vialign.signal.validation.combination import added_discrimination
from vialign.signal.validation.decay import ALL, REFERENCE
from vialign.signal.validation.diagnosis import HARD, Contrast, contrast, diagnose
from vialign.signal.validation.probe import PARTS
from vialign.signal.validation.resampling import image_weights, interval, resampled_mean
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.gates import VERDICT
from vialign.tables.signal import CONTROLS

SIMPLER = ("s_global", "s_local", "s_local_plain", "s_sum", "s_token", "s_words")
"""Signals without the idea of consistency, which the driver is held against where they are available."""
BLIND = "blind"
"""The score that sees no image."""


_CONTROL_PASSED = (
    "it meets all that is asked of the signal on hard negatives, so meeting it shows nothing about the local part"
)


@dataclass(frozen=True)
class _Criterion:
    criterion: str
    met: bool
    required: bool
    evidence: str
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None


def signal_verdict(
    scores: pd.DataFrame,
    calibration: pd.DataFrame,
    diagnosis: pd.DataFrame,
    probe: pd.DataFrame,
    stress: pd.DataFrame | None,
    controls: pd.DataFrame | None,
    config: SignalConfig,
    gate: SignalGateConfig,
    seed: int,
) -> pd.DataFrame:
    """Rows as `VERDICT`. The gate stops (or warns, as `gate.action` says) where a required criterion does not hold.

    `scores` may carry reference signals (`vialign.signal.references.with_references`). Required: both calibrated
    similarities rise with alignment (only where the driver uses them); the driver discriminates on at least one kind of
    hard negative, and better there than the blind baseline, where that is available; it adds to S_global, and to
    S_global with S_local, on hard negatives; a linear probe reads more with it than from either; and the controls
    (`controls`, rows of `SIGNAL_CONTROLS`), judged by the same rules, do not pass. Where `probe` or `controls` is
    empty the claim is not shown, and the gate does not open. Everything else informs: each kind, the driver against
    simpler signals, the blind spot of C, and the stress test.
    """
    criteria = [
        *_calibration_rows(calibration, config),
        *_discrimination_rows(scores, diagnosis, config, gate, seed),
        *_probe_rows(probe, gate),
        *_control_rows(controls, config, gate, seed),
        *_kind_rows(diagnosis, config, gate),
        *_ranking_rows(scores, config, seed),
        *_blind_spot_row(scores, config, gate, seed),
        *_stress_rows(stress, config),
    ]
    failed = any(row.required and not row.met for row in criteria)
    frame = pd.DataFrame([asdict(row) for row in criteria])
    action = gate.action if failed else "go"
    return VERDICT.check(frame.assign(gate="signal", undecided=False, action=action))


def _calibration_rows(calibration: pd.DataFrame, config: SignalConfig) -> list[_Criterion]:
    return [
        _Criterion(
            criterion=f"{row['similarity']} is higher for aligned than for random pairs (slope of its map)",
            value=row["free_slope"],
            threshold=0.0,
            met=row["slope"] > 0,
            required=config.driver != "consistency_raw",
            evidence="signal/calibration.parquet",
            reason="a map that does not rise makes the calibrated signal a function of the other similarity alone",
        )
        for row in _records(calibration)
    ]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _is_discriminated(row: dict[str, Any], gate: SignalGateConfig) -> bool:
    return bool(row["p_holm"] < gate.level and row["low"] > gate.minimum_auc)


def _driver_rows(diagnosis: pd.DataFrame, config: SignalConfig) -> dict[str, dict[str, Any]]:
    """Rows of the driving signal by kind."""
    return {row["kind"]: row for row in _records(diagnosis) if row["signal"] == config.driver}


def _discrimination_rows(
    scores: pd.DataFrame, diagnosis: pd.DataFrame, config: SignalConfig, gate: SignalGateConfig, seed: int
) -> list[_Criterion]:
    """What is asked of the driver on hard negatives: beyond the text, beyond S_global, and beyond both its parts."""
    return [
        _beyond_text_row(scores, diagnosis, config, gate, seed),
        _beyond_row(scores, (REFERENCE,), gate.beyond_global, config, seed),
        _beyond_row(scores, (REFERENCE, "s_local"), gate.beyond_parts, config, seed),
    ]


def _beyond_row(
    scores: pd.DataFrame, base: tuple[str, ...], threshold: float, config: SignalConfig, seed: int
) -> _Criterion:
    """What the driver adds to the best combination of `base`."""
    name = " with ".join(base)
    criterion = f"{config.driver} adds to {name} in telling captions from hard negatives (difference of AUC)"
    evidence, found = "signal/scores.parquet", contrast(scores, HARD)
    if found is None:
        return _not_shown(criterion, evidence, "no rule-made negative could be made from the captions")
    added = added_discrimination(found, base, config.driver, config, seed)
    return _Criterion(
        criterion,
        value=added.difference,
        low=added.low,
        high=added.high,
        threshold=threshold,
        met=added.low > threshold,
        required=True,
        evidence=evidence,
        reason=f"the best linear combination without {config.driver} reaches {added.without:.3f}, held out by image; "
        "the interval of what the driver adds must lie above the threshold",
    )


def _not_shown(criterion: str, evidence: str, why: str) -> _Criterion:
    """A required criterion of which there is no measurement: the claim is not shown."""
    return _Criterion(criterion, met=False, required=True, evidence=evidence, reason=f"{NOT_SHOWN}: {why}")


def _beyond_text_row(
    scores: pd.DataFrame, diagnosis: pd.DataFrame, config: SignalConfig, gate: SignalGateConfig, seed: int
) -> _Criterion:
    """The best kind: one on which the driver is above chance and above what the text alone gives away."""
    criterion = f"{config.driver} tells aligned captions from at least one kind of hard negative, beyond their text"
    evidence = "signal/diagnosis.parquet"
    rows = [row for kind, row in _driver_rows(diagnosis, config).items() if kind in NEGATIVE_KINDS]
    if not rows:
        return _not_shown(criterion, evidence, "no rule-made negative could be made from the captions")
    beyond = {row["kind"]: _beyond_text(scores, row["kind"], config, seed) for row in rows}

    def holds(row: dict[str, Any]) -> bool:
        difference = beyond[row["kind"]]
        return _is_discriminated(row, gate) and (difference is None or difference[1] > gate.beyond_text)

    best = max(rows, key=lambda row: (holds(row), row["low"]))
    difference = beyond[best["kind"]]
    text = "no blind baseline was available"
    if difference is not None:
        text = "beyond the blind baseline {:+.3f} [{:+.3f}, {:+.3f}]".format(*difference)
    return _Criterion(
        criterion,
        value=best["auc"],
        low=best["low"],
        high=best["high"],
        threshold=gate.minimum_auc,
        met=holds(best),
        required=True,
        evidence=evidence,
        reason=f"best kind: {best['kind']}, p after Holm {best['p_holm']:.2g}, {text}; asked for: p below "
        f"{gate.level}, the interval above the threshold, and beyond the blind baseline more than {gate.beyond_text:g}",
    )


def _beyond_text(scores: pd.DataFrame, kind: str, config: SignalConfig, seed: int) -> tuple[float, float, float] | None:
    """AUC of the driver minus that of the blind baseline on one kind, with its interval; None without a baseline."""
    found = contrast(scores, kind) if BLIND in scores else None
    return None if found is None else _auc_difference(found, BLIND, config, seed, kind)


def _auc_difference(
    found: Contrast, other: str, config: SignalConfig, seed: int, kind: str
) -> tuple[float, float, float]:
    """AUC of the driver minus that of another signal, with its interval, paired by resample."""
    weights = image_weights(found.images, config.bootstrap, generator(seed, "verdict ranking", kind))
    resampled = found.resampled_auc(config.driver, weights) - found.resampled_auc(other, weights)
    return found.auc(config.driver) - found.auc(other), *interval(resampled)


def _probe_rows(probe: pd.DataFrame, gate: SignalGateConfig) -> list[_Criterion]:
    """What a linear probe gains from the signal, beyond S_global and beyond both similarities."""
    rows = {row["features"]: row for row in _records(probe)}
    criteria = []
    for base, column in (("s_global", "gain"), (PARTS, "beyond_parts")):
        name, evidence = base.replace("+", " with "), "signal/probe.parquet"
        criterion = f"a linear probe reads relations better from {name} with the signal than from {name}"
        row = rows.get(f"{base}+signal")
        if row is None:
            why = (
                "no labelled relations are at hand, or too few of two predicates, so the probe could not run; "
                "data.probe can name a data set that has some"
            )
            criteria.append(_not_shown(criterion, evidence, why))
            continue
        criteria.append(
            _Criterion(
                criterion,
                value=row[column],
                low=row[f"{column}_low"],
                high=row[f"{column}_high"],
                threshold=gate.minimum_gain,
                met=bool(row[f"{column}_low"] > gate.minimum_gain),
                required=True,
                evidence=evidence,
                reason=f"balanced accuracy {row['accuracy']:.3f}, chance {row['chance']:.3f}; the gain's interval "
                "must lie above the threshold: the signal has to add something",
            )
        )
    return criteria


def _control_rows(
    controls: pd.DataFrame | None, config: SignalConfig, gate: SignalGateConfig, seed: int
) -> list[_Criterion]:
    """Each control judged by what is asked of the driver on hard negatives: where all of it holds, the rules are blind.

    The family of tests is that of the driver alone, which is easier to pass than the one that the signal itself faces.
    """
    criteria = []
    for control in CONTROLS:
        criterion = f"control fails: {config.driver} with {control} is not shown to be a signal"
        evidence = "signal/controls.parquet"
        scores = None if controls is None else controls[controls["control"] == control].drop(columns="control")
        if scores is None or scores.empty:
            criteria.append(_not_shown(criterion, evidence, "the control was not run"))
            continue
        diagnosis = diagnose(scores, config, gate.level, seed, signals=(config.driver,))
        asked = _discrimination_rows(scores, diagnosis, config, gate, seed)
        failed, last = [row.criterion for row in asked if not row.met], asked[-1]
        reason = f"it fails where the signal is asked: {'; '.join(failed)}" if failed else _CONTROL_PASSED
        criteria.append(
            _Criterion(
                criterion,
                value=last.value,
                low=last.low,
                high=last.high,
                threshold=last.threshold,
                met=bool(failed),
                required=True,
                evidence=evidence,
                reason=reason,
            )
        )
    return criteria


def _kind_rows(diagnosis: pd.DataFrame, config: SignalConfig, gate: SignalGateConfig) -> list[_Criterion]:
    rows = _driver_rows(diagnosis, config)
    criteria = []
    for kind in ("random", *NEGATIVE_KINDS):
        criterion, evidence = f"{config.driver} tells aligned captions from {kind}", "signal/diagnosis.parquet"
        if kind not in rows:
            reason = "not available: no pairs of this kind"
            criteria.append(_Criterion(criterion, met=False, required=False, evidence=evidence, reason=reason))
            continue
        row = rows[kind]
        criteria.append(
            _Criterion(
                criterion,
                value=row["auc"],
                low=row["low"],
                high=row["high"],
                threshold=gate.minimum_auc,
                met=_is_discriminated(row, gate),
                required=False,
                evidence=evidence,
                reason=f"p after Holm {row['p_holm']:.2g}, Cohen's d {row['cohen_d']:.2f}, {row['pairs']} pairs",
            )
        )
    return criteria


def _ranking_rows(scores: pd.DataFrame, config: SignalConfig, seed: int) -> list[_Criterion]:
    """AUC of the driver minus that of each simpler signal, paired by resample."""
    criteria = []
    for kind in ("random", HARD):
        found = contrast(scores, kind)
        if found is None:
            continue
        for signal in (name for name in SIMPLER if name in scores):
            own, other = found.auc(config.driver), found.auc(signal)
            difference, low, high = _auc_difference(found, signal, config, seed, kind)
            winner = "discriminates better than" if low > 0 else "discriminates worse than"
            said = winner if low > 0 or high < 0 else "cannot be told apart from"
            negatives = "hard negatives" if kind == HARD else "random captions"
            criteria.append(
                _Criterion(
                    f"{config.driver} discriminates better than {signal} on {negatives} (difference of AUC)",
                    value=difference,
                    low=low,
                    high=high,
                    threshold=0.0,
                    met=low > 0,
                    required=False,
                    evidence="signal/scores.parquet",
                    reason=f"{config.driver} ({own:.3f}) {said} {signal} ({other:.3f})",
                )
            )
    return criteria


def _blind_spot_row(scores: pd.DataFrame, config: SignalConfig, gate: SignalGateConfig, seed: int) -> list[_Criterion]:
    """C calls a pair in which both similarities are low consistent: how often does that happen?"""
    random = scores[scores["kind"] == "random"]
    aligned = scores[scores["kind"] == "aligned"]
    if random.empty or aligned.empty:
        return []
    low_both = (random["s_global_calibrated"] < 0.5) & (random["s_local_calibrated"] < 0.5)
    blind = (low_both & (random["consistency"] >= aligned["consistency"].median())).to_numpy(dtype=np.float64)
    images, known = pd.factorize(random["image_id"])
    weights = image_weights(len(known), config.bootstrap, generator(seed, "verdict blind spot"))
    low, high = interval(resampled_mean(blind, images, weights))
    return [
        _Criterion(
            "random pairs rarely look as consistent as the median aligned pair with both similarities low",
            value=float(blind.mean()),
            low=low,
            high=high,
            threshold=gate.blind_spot,
            met=high < gate.blind_spot,
            required=False,
            evidence="signal/scores.parquet",
            reason="C measures whether both similarities say the same, not whether they say yes; `agreement` does not "
            "have this blind spot",
        )
    ]


def _stress_rows(stress: pd.DataFrame | None, config: SignalConfig) -> list[_Criterion]:
    """What is kept of the clean discrimination in the mean over all disturbances, beside that of S_global."""
    evidence = "signal/stress_summary.parquet"
    if stress is None or stress.empty:
        reason = "not available: the stress test did not run"
        return [_Criterion("the signal survives stress", False, False, evidence, reason)]
    # Each signal in the mean over disturbances and attacks on itself, so that none profits from an attack on another.
    means = {(row["kind"], row["signal"]): row for row in _records(stress) if row["attack"] == ALL}
    criteria = []
    for kind in dict.fromkeys(kind for kind, _ in means):
        own, other = means[kind, config.driver], means[kind, REFERENCE]
        negatives = "hard negatives" if kind == HARD else "random captions"
        known = not np.isnan(own["difference"])
        criteria.append(
            _Criterion(
                f"{config.driver} on {negatives} decays less than S_global in the mean over all disturbances, "
                "each under attacks on itself (difference of the shares kept)",
                value=own["difference"] if known else None,
                low=own["difference_low"] if known else None,
                high=own["difference_high"] if known else None,
                threshold=0.0,
                met=bool(own["difference_low"] > 0),
                required=False,
                evidence=evidence,
                reason=f"share of the clean excess over chance that is kept: {_share(own['relative_area'])}; S_global "
                f"{_share(other['relative_area'])}",
            )
        )
    return criteria


def _share(area: float) -> str:
    return "not available (no better than chance when clean)" if np.isnan(area) else f"{area:.0%}"
