"""Intervals over items, against the closed form and scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from vialign.disentangle.measured import Measured, resampled_ratios


def test_intervals_cover_the_value_and_shrink_with_items():
    rng = np.random.default_rng(0)
    widths = []
    for items in (50, 2000):
        rows = Measured("d", 0)
        values = torch.from_numpy(rng.random((items, 3)))
        weights = torch.from_numpy(rng.integers(0, 2, (items, 3)).astype(float))
        rows.add("s", "m", values, weights)
        row = rows.frame().iloc[0]
        assert row["value"] == pytest.approx(float((values * weights).sum() / weights.sum()))
        assert row["low"] < row["value"] < row["high"]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0] / 40**0.5, rel=0.35)


def test_a_measure_without_items_is_left_out():
    rows = Measured("d", 0)
    rows.add("s", "m", torch.rand(4, 2), torch.zeros(4, 2))
    assert rows.frame().empty


def test_intervals_agree_with_scipys_bootstrap():
    rng = np.random.default_rng(1)
    below = rng.integers(1, 5, 200).astype(float)
    above = below * rng.random(200)
    measured = Measured("d", 0)
    measured.ratio("s", "m", above, below)
    row = measured.frame().iloc[0]
    expected = stats.bootstrap(
        (above, below), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True, method="percentile",
        n_resamples=4000, rng=2,
    ).confidence_interval  # fmt: skip
    width = expected.high - expected.low
    assert row["low"] == pytest.approx(expected.low, abs=0.1 * width)
    assert row["high"] == pytest.approx(expected.high, abs=0.1 * width)


def test_ratios_of_the_same_items_are_resampled_together():
    """The difference of two measures that differ by a constant has no spread; of independent ones it has."""
    rng = np.random.default_rng(2)
    one, other, below = rng.random(300), rng.random(300), np.ones(300)
    resampled = resampled_ratios([(one, below), (one + 0.1, below), (other, below)], 0)
    paired, apart = (resampled[:, place] - resampled[:, 0] for place in (1, 2))
    np.testing.assert_allclose(paired, 0.1)
    assert apart.std() == pytest.approx((one - other).std() / 300**0.5, rel=0.1)
    alone = resampled_ratios([(other, below)], 0)[:, 0]
    np.testing.assert_allclose(alone, resampled[:, 2])  # what is measured beside it changes nothing


def test_measures_on_other_numbers_of_items_share_a_frame():
    measured = Measured("d", 0)
    for items in (20, 30, 20):
        values = torch.linspace(0, 1, items)[:, None]
        measured.add(f"s{len(measured.rows)}", "m", values, torch.ones(items, 1))
    measured.value("atoms", "dead", 3.0, 20)
    frame = measured.frame()
    assert frame["count"].tolist() == [20, 30, 20, 20]
    assert frame["low"].iloc[0] == frame["low"].iloc[2] != frame["low"].iloc[1]
    assert np.isnan(frame["low"].iloc[3])
