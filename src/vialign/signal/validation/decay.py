"""How discrimination decays: from scores under stress to curves of AUC, and to one number each and one for all.

All intervals are percentile intervals over resamples of images. Every curve, signal and disturbance of the same images
sees the same resamples, so that areas, means of areas and differences between signals are paired.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.config.signal import SignalConfig
from vialign.progress import track
from vialign.random import generator
from vialign.signal.validation.diagnosis import HARD, contrast
from vialign.signal.validation.resampling import image_weights, interval
from vialign.signal.validation.targets import GLOBAL, stressed_signals
from vialign.tables.signal import NONE, OWN, STRESS, STRESS_SUMMARY

CLEAN = "clean"
"""Name of the undisturbed scores; each curve starts with them at strength 0."""
ALL = "all"
"""Name of the mean over all curves in `STRESS_SUMMARY`."""
REFERENCE = GLOBAL
"""What the other signals are held against."""


@dataclass(frozen=True)
class Stressed:
    """Scores of image-text pairs under one disturbance."""

    attack: str
    """Name of the disturbance, or `clean`."""
    strength: float
    """How strong it is, in `unit`; 0 is clean."""
    scores: pd.DataFrame
    """Rows of `SIGNAL_SCORES` with the ids of the undisturbed pairs."""
    unit: str = ""
    """What `strength` counts."""
    images: str = "diagnosis"
    """Name of the set of images; sets with different names are resampled independently."""
    target: str = NONE
    """The signal that was attacked."""


@dataclass(frozen=True)
class Point:
    """One point of a curve."""

    attack: str
    strength: float
    unit: str
    signal: str
    kind: str
    """`random` or `hard`."""
    auc: float
    resampled: Float[np.ndarray, "repeat"]
    """`auc` in each resample of the images."""
    pairs: int
    """Misaligned pairs."""
    target: str = NONE
    """The signal that was attacked."""


def stress_points(
    stressed: Iterable[Stressed], config: SignalConfig, seed: int, total: int | None = None
) -> list[Point]:
    """Discrimination of `stressed_signals` on random and on hard negatives, one point a disturbance.

    Under an attack on a signal that signal alone is followed; under one on S_global all are, which shows what carries
    over. Kinds with fewer than two images give no point.
    """
    weights: dict[tuple[str, str], Float[np.ndarray, "repeat image"]] = {}
    points = []
    for one in track(stressed, "stress test", total):
        for kind in ("random", HARD):
            found = contrast(one.scores, kind)
            if found is None:
                continue
            if (one.images, kind) not in weights:
                rng = generator(seed, "stress bootstrap", one.images, kind)
                weights[one.images, kind] = image_weights(found.images, config.bootstrap, rng)
            for signal in stressed_signals(config) if one.target in (NONE, GLOBAL) else (one.target,):
                resampled = found.resampled_auc(signal, weights[one.images, kind])
                value, pairs = found.auc(signal), len(found.misaligned)
                points.append(
                    Point(one.attack, one.strength, one.unit, signal, kind, value, resampled, pairs, one.target)
                )
    return points


def stress_table(points: Sequence[Point]) -> pd.DataFrame:
    """Rows as `STRESS`: every curve from its clean value on, with intervals."""
    rows: list[dict[str, object]] = []
    for curve in _curves(points):
        for point in curve:
            low, high = interval(point.resampled)
            rows.append(
                {
                    "attack": curve[-1].attack,
                    "target": curve[-1].target,
                    "strength": point.strength,
                    "unit": curve[-1].unit,
                    "signal": point.signal,
                    "kind": point.kind,
                    "auc": point.auc,
                    "low": low,
                    "high": high,
                    "pairs": point.pairs,
                }
            )
    return STRESS.check(pd.DataFrame(rows, columns=list(STRESS.columns)))


def stress_summary(points: Sequence[Point]) -> pd.DataFrame:
    """Each curve as one number, its mean excess over chance relative to clean, and `all` as the mean of all curves.

    1 is no decay, 0 is chance. Rows as `STRESS_SUMMARY`, with the paired difference from S_global under the attack on
    S_global. The mean takes every disturbance once, and each signal under the attacks on itself (target `own`).
    Strengths are taken as equally spaced steps from clean to the strongest, by the trapezoid rule. It is missing where
    the clean interval reaches down to chance: nothing is there that could decay, and a ratio to noise says nothing.
    Resamples in which the clean value is not above chance have no ratio and do not count.
    """
    areas: dict[tuple[str, str], dict[tuple[str, str], Float[np.ndarray, "value"]]] = {}
    clean: dict[tuple[str, str], float] = {}
    for curve in _curves(points):
        area = relative_area([np.concatenate([[point.auc], point.resampled]) for point in curve])
        start, name = curve[0], (curve[0].signal, curve[0].kind)
        clean[name] = start.auc
        if interval(start.resampled)[0] <= 0.5:
            area = np.full_like(area, np.nan)
        areas.setdefault(name, {})[curve[-1].attack, curve[-1].target] = area
    for (signal, _), found in areas.items():
        own = [area for (_, target), area in found.items() if target in (NONE, signal)]
        found[ALL, OWN] = np.mean(own, axis=0)
    rows: list[dict[str, object]] = []
    for (signal, kind), found in areas.items():
        for (attack, target), area in found.items():
            row: dict[str, object] = {"attack": attack, "target": target, "signal": signal, "kind": kind}
            row |= {"clean": clean[signal, kind]} | _with_interval("relative_area", area, "low", "high")
            if signal != REFERENCE:
                against = target if target in (NONE, OWN) else REFERENCE
                difference = area - areas[REFERENCE, kind][attack, against]
                row |= _with_interval("difference", difference, "difference_low", "difference_high")
            rows.append(row)
    return STRESS_SUMMARY.check(pd.DataFrame(rows, columns=list(STRESS_SUMMARY.columns)))


def relative_area(curve: Sequence[Float[np.ndarray, "value"]]) -> Float[np.ndarray, "value"]:
    """Mean excess of the AUC over chance along a curve (clean first), over its clean value; elementwise.

    NaN where the clean value is not above chance.
    """
    excess = np.stack(curve) - 0.5
    area = ((excess[1:] + excess[:-1]) / 2).mean(axis=0) if len(excess) > 1 else excess[0]
    return np.divide(area, excess[0], out=np.full_like(area, np.nan), where=excess[0] > 0)


def _curves(points: Sequence[Point]) -> list[list[Point]]:
    """Points by disturbance, target, signal and kind, each beginning with the clean one and rising in strength."""
    clean = {(point.signal, point.kind): point for point in points if point.attack == CLEAN}
    grouped: dict[tuple[str, str, str, str], list[Point]] = {}
    for point in points:
        if point.attack != CLEAN:
            grouped.setdefault((point.attack, point.target, point.signal, point.kind), []).append(point)
    return [
        [clean[signal, kind], *sorted(curve, key=lambda point: point.strength)]
        for (_, _, signal, kind), curve in grouped.items()
    ]


def _with_interval(name: str, values: Float[np.ndarray, "value"], low: str, high: str) -> dict[str, object]:
    """A value (first) and the interval of its resamples (the rest); all missing where the value is."""
    if np.isnan(values[0]):
        return {name: np.nan, low: np.nan, high: np.nan}
    ends = interval(values[1:])
    return {name: float(values[0]), low: ends[0], high: ends[1]}
