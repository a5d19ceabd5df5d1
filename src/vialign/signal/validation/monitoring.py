"""Phase 3: does C move with the validation metric during training? Rolling rank correlation, its band, early warning.

Checks are few, and every window is another chance to be wrong. So one critical value serves all windows at once: the
one that the largest deviation over the windows exceeds in a share `level` of random orders of the checks (a maximum
statistic, Westfall and Young 1993). It gives both the band, which is what shuffled order would show, and the interval
around a correlation; the interval lies wholly under 0 exactly where the correlation lies under the band.

A random order is what unrelated *fluctuations* look like; unrelated *drifts* look related. So the correlation is given
twice: of the values ("level", which the early warning reads: C that falls while the metric rises has stopped to stand
for it, whatever the cause) and of their changes from check to check ("change", which drift alone does not move). With
25 checks and the default windows, 2 % of pairs of unrelated noise and 21 % of pairs of unrelated random walks give a
false warning by level, and 4 % and 3 % by change (500 simulations each).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import rankdata

from vialign.config.methods import MonitorConfig
from vialign.random import generator
from vialign.tables.training import MONITORING

_NUMBERS = ["correlation", "low", "high", "band_low", "band_high"]


def spearman(
    first: Float[np.ndarray, "*#rows item"], second: Float[np.ndarray, "*#rows item"]
) -> Float[np.ndarray, "*#rows"]:
    """Spearman's rank correlation along the last axis, ties at their mean rank; nan where a side is constant."""
    centred = []
    for values in (first, second):
        ranks = rankdata(values, axis=-1)
        centred.append(ranks - ranks.mean(axis=-1, keepdims=True))
    a, b = centred
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1)))


def fisher(
    correlation: Float[np.ndarray, "*rows"], count: Int[np.ndarray, "#*rows"]
) -> tuple[Float[np.ndarray, "*rows"], Float[np.ndarray, "*rows"]]:
    """Fisher's artanh of rank correlations over `count` > 3 pairs, and its standard error (Bonett and Wright 2000).

    Correlations are kept off ±1, where artanh ends, by half the smallest step that ranks of `count` pairs can make.
    """
    largest = _largest(count)
    inside = np.clip(correlation, -largest, largest)
    return np.arctanh(inside), _error(inside, count)


def band_edge(critical: float, count: Int[np.ndarray, "window"]) -> Float[np.ndarray, "window"]:
    """The correlation whose artanh is `critical` standard errors; 1 where none of so few pairs can reach it."""
    edge = np.zeros(len(count))
    # A contraction by less than 0.15: 20 rounds are beyond double precision.
    for _ in range(20):
        edge = np.tanh(critical * _error(edge, count))
    return np.where(edge < _largest(count), edge, 1.0)


def windows(checks: int, longest: int, minimum: int) -> list[slice]:
    """The window that ends at each check: the last `longest` checks, or all so far if they are at least `minimum`."""
    return [slice(max(0, stop - longest), stop) for stop in range(minimum, checks + 1)]


def critical_value(
    pairs: Sequence[tuple[Float[np.ndarray, "check"], Float[np.ndarray, "check"]]],
    seen: Sequence[Sequence[slice]],
    level: float,
    shuffles: int,
    rng: np.random.Generator,
) -> float:
    """What the largest deviation over windows, in standard errors, exceeds in a share `level` of shuffled orders.

    `pairs` are the two series of each training and `seen` its windows, as many for each. A deviation is artanh averaged
    over the trainings, over its standard error. Orders are shuffled in each training by itself.
    """
    shuffled = [rng.permuted(np.tile(second, (shuffles, 1)), axis=1) for _, second in pairs]
    deviations = []
    for place in range(len(seen[0])):
        values, errors = [], []
        for (first, _), second, parts in zip(pairs, shuffled, seen, strict=True):
            part = parts[place]
            correlation = np.nan_to_num(spearman(first[None, part], second[:, part]))
            value, error = fisher(correlation, np.array([part.stop - part.start]))
            values.append(value)
            errors.append(error)
        deviations.append(np.abs(np.sum(values, axis=0)) / np.sqrt(np.sum(np.square(errors), axis=0)))
    return float(np.quantile(np.max(deviations, axis=0), 1 - level, method="higher"))


def rolling_correlation(
    steps: Int[np.ndarray, "check"],
    signal: Float[np.ndarray, "check"],
    metric: Float[np.ndarray, "check"],
    config: MonitorConfig,
    level: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """One row a check: the window that ends there, its correlation, interval and band, and whether it warns.

    A window with fewer than `config.minimum` checks, or in which a series never changes, has no correlation: its row
    says so by missing values. Columns as MONITORING, without method, seed and of.
    """
    count = len(steps)
    frame = pd.DataFrame({"step": steps, "window": np.minimum(np.arange(count) + 1, config.window)})
    frame = frame.assign(**dict.fromkeys(_NUMBERS, np.nan), warned=False)
    seen = windows(count, config.window, config.minimum)
    if not seen:
        return frame
    critical = critical_value([(signal, metric)], [seen], level, config.shuffles, rng)
    sizes = np.array([part.stop - part.start for part in seen])
    correlation = np.array([spearman(signal[part], metric[part]) for part in seen])
    value, error = fisher(correlation, sizes)
    low, high = np.tanh(value - critical * error), np.tanh(value + critical * error)
    edge = np.where(np.isfinite(correlation), band_edge(critical, sizes), np.nan)
    # A correlation of 1 lies outside its own interval, which starts from the largest that artanh is taken of.
    ends = (correlation, np.fmin(low, correlation), np.fmax(high, correlation), -edge, edge)
    frame.loc[count - len(seen) :, _NUMBERS] = np.stack(ends, axis=1)
    frame.loc[count - len(seen) :, "warned"] = high < 0
    return frame


def monitoring(checks: pd.DataFrame, config: MonitorConfig, level: float, seed: int) -> pd.DataFrame:
    """MONITORING of all trainings: `checks` are their SIGNAL_MONITOR rows, with method and seed."""
    parts = []
    for (method, training), own in checks.sort_values("step").groupby(["method", "seed"]):
        steps = own["step"].to_numpy(np.int64)
        signal, metric = (own[name].to_numpy(np.float64) for name in ("consistency_mean", "score"))
        series = {"level": (steps, signal, metric), "change": (steps[1:], np.diff(signal), np.diff(metric))}
        for of, values in series.items():
            rng = generator(seed, "monitoring", method, training, of)
            rows = rolling_correlation(*values, config, level, rng).assign(of=of)
            parts.append(own[["method", "seed"]].head(1).merge(rows, how="cross"))
    if not parts:
        return MONITORING.empty()
    return MONITORING.check(pd.concat(parts, ignore_index=True))


@dataclass(frozen=True)
class EarlyWarning:
    """The correlation of C with the validation metric up to now, one number for all trainings of a method."""

    correlation: float
    low: float
    high: float
    checks: int
    """Of each training's window."""

    @property
    def warned(self) -> bool:
        """Whether the whole interval lies under 0."""
        return self.high < 0


def early_warning(checks: pd.DataFrame, config: MonitorConfig, level: float, seed: int) -> EarlyWarning | None:
    """The early-warning rule at the last check of one method's trainings, over their seeds.

    `checks` are SIGNAL_MONITOR rows with seed. Only the window that ends at the last check is looked at, once, so its
    interval need not pay for others; the trainings' correlations are averaged by Fisher's artanh. None where a window
    has fewer than `config.minimum` checks or a series that never changes: then nothing can be said.
    """
    pairs, seen = [], []
    for _, own in checks.sort_values("step").groupby("seed"):
        pairs.append((own["consistency_mean"].to_numpy(np.float64), own["score"].to_numpy(np.float64)))
        seen.append(windows(len(own), config.window, config.minimum)[-1:])
    if not pairs or not all(seen):
        return None
    found = [spearman(first[part], second[part]) for (first, second), (part,) in zip(pairs, seen, strict=True)]
    if not np.isfinite(found).all():
        return None
    counts = np.array([part.stop - part.start for (part,) in seen])
    value, error = fisher(np.array(found), counts)
    critical = critical_value(pairs, seen, level, config.shuffles, generator(seed, "early warning"))
    centre, half = value.mean(), critical * np.sqrt(np.square(error).sum()) / len(pairs)
    low, middle, high = (float(np.tanh(end)) for end in (centre - half, centre, centre + half))
    return EarlyWarning(middle, low, high, int(counts.min()))


def _largest(count: Int[np.ndarray, "*rows"]) -> Float[np.ndarray, "*rows"]:
    return np.asarray(1 - 6 / (count * (count**2 - 1.0)))


def _error(correlation: Float[np.ndarray, "*rows"], count: Int[np.ndarray, "#*rows"]) -> Float[np.ndarray, "*rows"]:
    return np.asarray(np.sqrt((1 + correlation**2 / 2) / (count - 3)))
