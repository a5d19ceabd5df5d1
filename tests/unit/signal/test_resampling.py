import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest
from sklearn.metrics import roc_auc_score

from vialign.signal.validation import resampling
from vialign.signal.validation.resampling import (
    auc,
    holm,
    image_counts,
    image_weights,
    interval,
    permuted_labels,
    rank_sum_p,
    resampled_auc,
    resampled_mean,
    sign_flip_p,
    wins,
)


@pytest.mark.parametrize("drawn", [1, 21, 1000])
def test_counts_are_the_same_draws_however_many_are_made_at_once(monkeypatch, drawn):
    expected = np.random.default_rng(5).multinomial(7, np.full(7, 1 / 7), size=20)
    monkeypatch.setattr(resampling, "_DRAWN", drawn)
    found = image_counts(7, 20, np.random.default_rng(5))
    assert found.dtype == np.int32 and (found == expected).all()
    assert (image_weights(7, 20, np.random.default_rng(5)) == expected).all()


scores = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@given(scores, scores)
def test_auc_equals_sklearn_ties_included(positive, negative):
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    expected = roc_auc_score(labels, positive + negative)
    assert auc(np.array(positive, float), np.array(negative, float)) == pytest.approx(expected)


@given(st.integers(0, 2**31))
def test_resampled_auc_equals_repeating_the_pairs(seed):
    rng = np.random.default_rng(seed)
    positive, negative = rng.integers(0, 8, 9).astype(float), rng.integers(0, 8, 7).astype(float)
    of_positive, of_negative = rng.integers(0, 4, 9), rng.integers(0, 4, 7)
    weights = image_weights(4, 5, rng)
    found = resampled_auc(positive, of_positive, negative, of_negative, weights)
    for value, weight in zip(found, weights.astype(int), strict=True):
        repeated = np.repeat(positive, weight[of_positive]), np.repeat(negative, weight[of_negative])
        if len(repeated[0]) and len(repeated[1]):
            assert value == pytest.approx(auc(*repeated))
        else:
            assert np.isnan(value)


def test_resampled_mean_equals_repeating_the_items():
    rng = np.random.default_rng(0)
    values, images, weights = rng.random(10), rng.integers(0, 4, 10), image_weights(4, 6, rng)
    for found, weight in zip(resampled_mean(values, images, weights), weights.astype(int), strict=True):
        assert found == pytest.approx(np.repeat(values, weight[images]).mean())


def test_wins_by_hand():
    assert wins(np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0])).tolist() == [1.0, 0.5, 0.0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Three pairs an image share an effect: an interval that took pairs as independent would cover too rarely."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        images = np.repeat(np.arange(40), 3)
        values = rng.standard_normal(40)[images] + 0.5 * rng.standard_normal(120)
        low, high = interval(resampled_mean(values, images, image_weights(40, 200, rng)))
        covered += low <= 0 <= high
    assert binomtest(covered, 300, 0.95).pvalue > 1e-3


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_sign_flip_is_uniform_without_an_effect_and_small_with_one(shift):
    rng = np.random.default_rng(2)
    p_values = [sign_flip_p(rng.standard_normal(30) + shift, 199, rng) for _ in range(200)]
    if shift:
        assert np.median(p_values) < 0.02
    else:
        assert kstest(p_values, "uniform").pvalue > 1e-3


def test_sign_flip_matches_the_exact_binomial_test():
    difference = np.repeat([1.0, -1.0], [14, 4])
    found = sign_flip_p(difference, 20000, np.random.default_rng(0))
    assert found == pytest.approx(binomtest(14, 18).pvalue, abs=0.01)


def test_labels_are_permuted_within_images_only():
    rng = np.random.default_rng(3)
    images = np.array([0, 1, 0, 2, 1, 1, 0])
    positive = np.array([True, True, False, True, False, False, False])
    permuted = permuted_labels(positive, images, 500, rng)
    for image in range(3):
        inside = images == image
        assert (permuted[:, inside].sum(axis=1) == positive[inside].sum()).all()
    np.testing.assert_allclose(permuted[:, images == 1].mean(axis=0), 1 / 3, atol=0.08)


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_rank_sum_is_uniform_without_an_effect_and_small_with_one(shift):
    """Also when images differ in their level, as they do."""
    rng = np.random.default_rng(4)
    images = np.tile(np.arange(30), 2)
    positive = np.repeat([True, False], 30)
    p_values = []
    for _ in range(200):
        values = rng.standard_normal(60) + 2 * rng.standard_normal(30)[images] + shift * positive
        p_values.append(rank_sum_p(values, positive, images, permuted_labels(positive, images, 199, rng)))
    if shift:
        assert np.mean(np.array(p_values) < 0.05) > 0.5
    else:
        assert kstest(p_values, "uniform").pvalue > 1e-3


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_procedure_rejects(thousandths, level):
    p_values = np.array(thousandths) / 1000
    rejected = np.zeros(len(p_values), dtype=bool)
    for step, test in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[test] * (len(p_values) - step) > level:
            break
        rejected[test] = True
    assert (holm(p_values) <= level).tolist() == rejected.tolist()
    assert (holm(p_values) >= p_values).all() and (holm(p_values) <= 1).all()
