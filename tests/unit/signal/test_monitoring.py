"""Rolling rank correlation against scipy and all orders; what the early-warning rule catches, and what it must not."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vialign.config.methods import MonitorConfig
from vialign.signal.validation.monitoring import (
    band_edge,
    critical_value,
    early_warning,
    fisher,
    monitoring,
    rolling_correlation,
    spearman,
    windows,
)
from vialign.tables.training import MONITORING

CONFIG = MonitorConfig(shuffles=200)
LEVEL = 0.05
CHECKS = 25


def rolled(signal, metric, seed=0, config=CONFIG):
    steps = 10 * np.arange(len(signal))
    return rolling_correlation(steps, signal, metric, config, LEVEL, np.random.default_rng(seed))


def series(rng, kind, checks=CHECKS):
    noise = rng.normal(size=checks)
    return noise.cumsum() if kind == "walk" else noise


def checks_of(pairs, step=10):
    """SIGNAL_MONITOR columns that matter, one training a pair of series."""
    frames = [
        pd.DataFrame({"step": step * np.arange(len(c)), "consistency_mean": c, "score": m, "seed": seed})
        for seed, (c, m) in enumerate(pairs)
    ]
    return pd.concat(frames, ignore_index=True)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(2, 6))
def test_spearman_equals_scipy_with_ties(seed, size, levels):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, levels, size=(2, 4, size)).astype(float)
    found = spearman(first, second)
    for row in range(4):
        if np.ptp(first[row]) == 0 or np.ptp(second[row]) == 0:
            assert np.isnan(found[row])
        else:
            assert found[row] == pytest.approx(stats.spearmanr(first[row], second[row]).statistic, abs=1e-12)


def test_fishers_transform_by_hand_and_its_end():
    value, error = fisher(np.array([0.5, 1.0]), np.array([10, 10]))
    assert value[0] == pytest.approx(0.5493061443340549)
    assert error[0] == pytest.approx(np.sqrt((1 + 0.125) / 7))
    assert np.tanh(value[1]) == pytest.approx(1 - 6 / 990) and np.isfinite(error[1])


@given(st.floats(0.5, 6.0), st.integers(5, 40), st.floats(-1, 1))
def test_the_interval_leaves_zero_exactly_where_the_correlation_leaves_the_band(critical, count, correlation):
    edge = band_edge(critical, np.array([count]))[0]
    value, error = fisher(np.array([correlation]), np.array([count]))
    distance = abs(value[0]) - critical * error[0]
    if abs(abs(correlation) - edge) > 1e-9:
        assert (abs(correlation) > edge) == (distance > 0)


def test_windows_by_hand():
    assert windows(6, 4, 3) == [slice(0, 3), slice(0, 4), slice(1, 5), slice(2, 6)]
    assert windows(2, 4, 3) == []


def test_the_critical_value_is_that_of_all_orders():
    first, second = np.array([1.0, 3, 2, 5, 4, 4]), np.array([2.0, 1, 4, 4, 3, 7])
    parts = windows(6, 5, 5)
    largest = []
    for order in permutations(second):
        values = [stats.spearmanr(first[part], np.array(order)[part]).statistic for part in parts]
        sizes = [part.stop - part.start for part in parts]
        ends = [1 - 6 / (n * (n * n - 1)) for n in sizes]
        kept = [np.clip(value, -end, end) for value, end in zip(values, ends, strict=True)]
        errors = [np.sqrt((1 + r * r / 2) / (n - 3)) for r, n in zip(kept, sizes, strict=True)]
        largest.append(max(abs(np.arctanh(r)) / e for r, e in zip(kept, errors, strict=True)))
    found = critical_value([(first, second)], [parts], 0.1, 20_000, np.random.default_rng(0))
    low, high = np.quantile(largest, [0.89, 0.91])
    assert low <= found <= high and low > 1


def test_every_row_is_the_window_that_ends_there():
    rng = np.random.default_rng(3)
    signal, metric = rng.normal(size=(2, 15))
    rows = rolled(signal, metric)
    assert rows["step"].tolist() == [10 * n for n in range(15)]
    assert rows["window"].tolist() == [min(n + 1, CONFIG.window) for n in range(15)]
    early, late = rows[: CONFIG.minimum - 1], rows[CONFIG.minimum - 1 :]
    assert early["correlation"].isna().all() and not early["warned"].any()
    for place, row in late.iterrows():
        part = slice(place + 1 - row["window"], place + 1)
        assert row["correlation"] == pytest.approx(stats.spearmanr(signal[part], metric[part]).statistic)
    assert ((late["low"] <= late["correlation"]) & (late["correlation"] <= late["high"])).all()
    assert (late["warned"] == (late["correlation"] < late["band_low"])).all()
    assert (late["band_low"] == -late["band_high"]).all()
    assert late["band_high"].is_monotonic_decreasing and late["band_high"].nunique() == 5


def test_nothing_is_said_of_few_checks_or_of_a_series_that_never_changes():
    rng = np.random.default_rng(0)
    few = rolled(*rng.normal(size=(2, CONFIG.minimum - 1)))
    assert few["correlation"].isna().all() and len(few) == CONFIG.minimum - 1
    flat = rolled(np.ones(12), rng.normal(size=12))
    assert flat["correlation"].isna().all() and not flat["warned"].any()
    half = rolled(np.r_[np.ones(12), rng.normal(size=12)], rng.normal(size=24))
    assert half["correlation"].isna().sum() == 12 and half["correlation"].notna().sum() == 12


def test_false_warnings_are_rare_on_unrelated_series_and_drift_is_told_by_changes():
    rng = np.random.default_rng(7)
    trainings = 100
    share = {}
    for kind in ("noise", "walk"):
        pairs = [(series(rng, kind), series(rng, kind)) for _ in range(trainings)]
        share[kind, "level"] = np.mean([rolled(c, m)["warned"].any() for c, m in pairs])
        share[kind, "change"] = np.mean([rolled(np.diff(c), np.diff(m))["warned"].any() for c, m in pairs])
    assert share["noise", "level"] <= 0.05
    assert share["noise", "change"] <= 0.05 and share["walk", "change"] <= 0.05
    assert share["walk", "level"] > 0.08  # what the module says of drift, and why a warning only informs by default


def test_a_planted_negative_relation_is_caught_and_a_positive_one_is_not_warned_of():
    rng = np.random.default_rng(8)
    caught = {-1: 0, 1: 0}
    for _ in range(40):
        metric = rng.normal(size=CHECKS)
        for sign in caught:
            caught[sign] += rolled(sign * metric + 0.4 * rng.normal(size=CHECKS), metric)["warned"].any()
    assert caught[-1] >= 38 and caught[1] == 0
    rise = np.linspace(0, 1, CHECKS)
    assert rolled(1 - rise + 0.03 * rng.normal(size=CHECKS), rise + 0.03 * rng.normal(size=CHECKS))["warned"].any()


def test_the_table_of_all_trainings_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    pairs = [tuple(rng.normal(size=(2, 12))) for _ in range(3)]
    checks = checks_of(pairs).assign(method="vialign")
    table = MONITORING.check(monitoring(checks, CONFIG, LEVEL, 0))
    again = monitoring(checks.sample(frac=1, random_state=0), CONFIG, LEVEL, 0)
    order = ["method", "seed", "of", "step"]
    pd.testing.assert_frame_equal(*(t.sort_values(order, ignore_index=True) for t in (table, again)))
    counts = table.groupby(["seed", "of"]).size()
    assert (counts.xs("level", level="of") == 12).all() and (counts.xs("change", level="of") == 11).all()
    change = table[(table["of"] == "change") & (table["seed"] == 2)].set_index("step")["correlation"]
    expected = stats.spearmanr(np.diff(pairs[2][0])[1:], np.diff(pairs[2][1])[1:]).statistic
    assert change[110] == pytest.approx(expected)
    assert monitoring(checks[:0], CONFIG, LEVEL, 0).empty


def test_the_early_warning_averages_seeds_over_the_last_window():
    rng = np.random.default_rng(2)
    pairs = [tuple(rng.normal(size=(2, 14))) for _ in range(2)]
    found = early_warning(checks_of(pairs), CONFIG, LEVEL, 0)
    single = [np.arctanh(stats.spearmanr(c[-10:], m[-10:]).statistic) for c, m in pairs]
    assert found.correlation == pytest.approx(np.tanh(np.mean(single)))
    assert found.low < found.correlation < found.high and found.checks == 10
    one = early_warning(checks_of(pairs[:1]), CONFIG, LEVEL, 0)
    assert np.arctanh(one.high) - np.arctanh(one.low) > 1.2 * (np.arctanh(found.high) - np.arctanh(found.low))
    assert early_warning(checks_of([(c[:5], m[:5]) for c, m in pairs]), CONFIG, LEVEL, 0) is None
    assert early_warning(checks_of([pairs[0], (np.ones(14), pairs[1][1])]), CONFIG, LEVEL, 0) is None
    assert early_warning(checks_of(pairs)[:0], CONFIG, LEVEL, 0) is None


def test_the_early_warning_catches_what_is_planted_and_seldom_anything_else():
    rng = np.random.default_rng(4)
    metrics = rng.normal(size=(30, 2, 8))
    planted = [early_warning(checks_of([(-m + 0.3 * rng.normal(size=8), m) for m in ms]), CONFIG, LEVEL, 0)
               for ms in metrics]  # fmt: skip
    assert np.mean([found.warned for found in planted]) > 0.9
    null = [early_warning(checks_of([tuple(rng.normal(size=(2, 8))) for _ in range(2)]), CONFIG, LEVEL, 0)
            for _ in range(400)]  # fmt: skip
    assert np.mean([found.warned for found in null]) <= 0.05
