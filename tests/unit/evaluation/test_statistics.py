import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tolerance import close
from vialign.evaluation import statistics
from vialign.evaluation.statistics import holm, interval, replicate_means, seed_weights, wilson_interval

MEANS = close(np.float32, 2 * 50, scale=2)
"""Means of fifty clusters in [0, 1.25]: a ratio of two sums in single precision."""


@pytest.mark.parametrize("tests", [1, 7, 30])
def test_holm_is_that_of_statsmodels(tests):
    p_values = np.random.default_rng(tests).integers(20, size=tests) / 200  # with ties
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_is_that_of_statsmodels(successes, more):
    trials = successes + more
    low, high = wilson_interval(successes, trials, 0.05)
    np.testing.assert_allclose((low, high), proportion_confint(successes, trials, method="wilson"), atol=1e-12)


def test_replicates_are_means_over_resampled_clusters():
    """With one cluster weighted at random, every replicate must be one of the means that resampling can give."""
    values = np.array([0.0, 1.0, 5.0])
    sums, counts = (values * [1, 2, 1])[:, None, None], np.array([[1.0], [2.0], [1.0]])
    means = replicate_means(sums, counts, 500, 0)[:, 0, 0]
    possible = {
        round((0 * a + 2 * b + 5 * c) / (a + 2 * b + c), 5)
        for a in range(4)
        for b in range(4)
        for c in range(4)
        if a + b + c == 3
    }
    assert {round(value, 5) for value in means} == possible


def test_chunks_do_not_change_the_law_and_columns_share_their_resamples(monkeypatch):
    rng = np.random.default_rng(1)
    sums = rng.random((50, 2, 1))
    sums[:, 1] = sums[:, 0] + 0.25
    means = replicate_means(sums, np.ones((50, 1)), 4000, 0)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.25, atol=MEANS)
    monkeypatch.setattr(statistics, "_CELLS", 50 * 7)
    np.testing.assert_allclose(replicate_means(sums, np.ones((50, 1)), 4000, 0), means, atol=MEANS, rtol=0)
    error = sums[:, 0, 0].std() / 50**0.5
    assert means[:, 0, 0].std() == pytest.approx(error, rel=0.05)


def test_a_cluster_bootstrap_sees_that_items_of_one_image_are_alike():
    """Five copies of each of 40 outcomes carry no more than 40 outcomes: the error must not shrink by sqrt(5)."""
    outcomes = np.random.default_rng(2).random(40) < 0.4
    error = replicate_means(5.0 * outcomes[:, None, None], np.full((40, 1), 5.0), 4000, 0).std()
    assert error == pytest.approx(outcomes.std() / 40**0.5, rel=0.05)


def test_a_tag_that_a_replicate_lacks_is_nan():
    sums, counts = np.zeros((3, 1, 3)), np.eye(3)
    means = replicate_means(sums, counts, 200, 0)
    assert np.isnan(means).any()
    assert not np.isnan(means).all(axis=(1, 2)).any()


@pytest.mark.parametrize("count", [2, 3, 8])
def test_seed_weights_give_the_unbiased_error_of_the_mean(count):
    values = np.random.default_rng(count).normal(size=count)
    weights = seed_weights(list(range(count)), 40_000, 0)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    means = weights @ values
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std(ddof=1) / count**0.5, rel=0.03)


def test_seed_weights_belong_to_the_seed_and_one_seed_is_certain():
    np.testing.assert_array_equal(seed_weights([7], 5, 0), np.ones((5, 1)))
    first, second = seed_weights([1, 2], 100, 0), seed_weights([1, 2], 100, 0)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - seed_weights([1, 3], 100, 0)).max() > 0.1


def test_the_interval_of_a_paired_difference_covers_the_truth_as_often_as_it_says():
    """300 simulated benchmarks of 120 paired items in 60 images; nominal 95 %."""
    rng = np.random.default_rng(5)
    truth, covered, unpaired = 0.10, 0, 0
    for trial in range(300):
        hard = rng.random((60, 1)) < 0.5
        base = rng.random((60, 2)) < np.where(hard, 0.2, 0.8)
        better = np.where(base, 1.0, rng.random((60, 2)) < truth / 0.5)
        pairs = np.stack([better.sum(axis=1), base.sum(axis=1)], axis=1)[:, :, None].astype(float)
        means = replicate_means(pairs, np.full((60, 1), 2.0), 400, trial)[:, :, 0]
        low, high = interval(means[:, 0] - means[:, 1], 0.05)
        covered += low <= truth <= high
        wrong = means[:, 0] - np.roll(means[:, 1], 1)
        unpaired += float(wrong.std() > 1.5 * (means[:, 0] - means[:, 1]).std())
    assert 0.92 <= covered / 300 <= 0.98
    assert unpaired > 250  # without pairing the interval would be far wider


def simulated_coverage(seeds, seed_spread, pool=400):
    """How often the two-level interval holds the truth in 300 simulated trainings; nominal 95 %.

    Items and seeds are both drawn from their populations: a seed makes all items easier or harder.
    """
    rng = np.random.default_rng(1)

    def chance(shape_of_items, shape_of_seeds):
        return 1 / (1 + np.exp(-rng.normal(size=shape_of_items) - seed_spread * rng.normal(size=shape_of_seeds)))

    truth, covered = chance(200_000, 200_000).mean(), 0
    for trial in range(300):
        outcomes = (rng.random((pool, seeds)) < chance((pool, 1), (1, seeds))).astype(float)
        means = replicate_means(outcomes[:, :, None], np.ones((pool, 1)), 400, trial)[:, :, 0]
        low, high = interval((seed_weights(range(seeds), 400, trial) * means).sum(axis=1), 0.05)
        covered += low <= truth <= high
    return covered / 300


@pytest.mark.parametrize("seeds", [5, 8])
def test_the_interval_over_items_and_seeds_covers_the_truth_as_often_as_it_says(seeds):
    assert 0.92 <= simulated_coverage(seeds, 0.3) <= 0.98


def test_the_limits_of_the_interval_over_seeds_are_those_that_are_documented():
    assert simulated_coverage(3, 0.0) > 0.98  # seeds that do not differ: the noise of the items counts twice
    # Two or three seeds that differ: too narrow.
    assert 0.88 < simulated_coverage(3, 0.3) < 0.94
    assert 0.84 < simulated_coverage(2, 0.3) < 0.91


def test_without_the_second_level_the_interval_is_far_too_narrow(monkeypatch):
    monkeypatch.setitem(
        globals(), "seed_weights", lambda seeds, count, seed: np.full((count, len(seeds)), 1 / len(seeds))
    )
    assert simulated_coverage(3, 0.3) < 0.75


def test_interval_is_the_percentile_interval():
    low, high = interval(np.arange(1001.0), 0.05)
    assert (low, high) == (25.0, 975.0)
