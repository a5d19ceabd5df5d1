"""AUROC, risk against coverage and predictors against oracles that count one by one."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr, softmax
from sklearn.metrics import roc_auc_score

from vialign.signal.trust.measures import (
    COVERAGES,
    Sample,
    _counted,
    area_under_risk,
    expected_calibration_error,
    measure,
    paired_p,
    risk_coverage,
)
from vialign.signal.trust.predictors import DOUBT, local_ranking, log_odds, log_total, simple_confidences, top_answers
from vialign.signal.validation.resampling import image_counts
from vialign.tables.signal import TRUST_RANKING, TRUST_RETURN, TRUST_SIGNALS, TRUST_SIMPLE


def risks(score, wrong):
    """Expected share of wrong answers among the first k, by walking through the groups of ties one answer at a time."""
    kept, lost, found = 0, 0.0, []
    for value in np.unique(score):
        group = wrong[score == value]
        for number in range(1, len(group) + 1):
            found.append((lost + number * group.mean()) / (kept + number))
        kept, lost = kept + len(group), lost + group.sum()
    return np.array(found)


answers = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12)


@given(answers)
def test_the_area_is_the_mean_risk_over_all_numbers_of_kept_answers(rows):
    score, wrong = np.array(rows, dtype=float).T
    assert area_under_risk(score, wrong == 1) == pytest.approx(risks(score, wrong).mean())


@given(answers, st.sampled_from([0.25, 0.5, 1.0]))
def test_the_curve_reads_the_risk_where_a_whole_number_of_answers_is_kept(rows, coverage):
    rows = rows * 4
    score, wrong = np.array(rows, dtype=float).T
    found = risk_coverage(score, wrong == 1, [coverage])
    assert found == pytest.approx([risks(score, wrong)[int(coverage * len(rows)) - 1]])


def test_ties_count_as_the_mean_over_their_orders():
    rng = np.random.default_rng(0)
    score, wrong = rng.integers(0, 3, 9).astype(float), rng.random(9) < 0.4
    orders = [np.lexsort((rng.random(9), score)) for _ in range(4000)]
    mean = np.mean([np.mean(np.cumsum(wrong[order]) / np.arange(1, 10)) for order in orders])
    assert area_under_risk(score, wrong) == pytest.approx(mean, abs=0.01)


def test_every_resample_is_what_repeating_the_answers_of_its_images_gives():
    rng = np.random.default_rng(1)
    score, wrong, images = rng.integers(0, 6, 30).astype(float), rng.random(30) < 0.4, rng.integers(0, 8, 30)
    weights = image_counts(8, 20, rng)
    found = measure(score, Sample(wrong, images, weights))
    assert found.auroc == pytest.approx(roc_auc_score(wrong, score))
    assert found.aurc == pytest.approx(area_under_risk(score, wrong))
    assert found.risk == pytest.approx(risk_coverage(score, wrong))
    assert found.risk[COVERAGES.index(1.0)] == pytest.approx(wrong.mean())
    for row, weight in enumerate(weights):
        times = weight[images]
        repeated = np.repeat(score, times), np.repeat(wrong, times)
        assert found.aurcs[row] == pytest.approx(area_under_risk(*repeated))
        assert found.risks[row] == pytest.approx(risk_coverage(*repeated))
        assert found.aurocs[row] == pytest.approx(roc_auc_score(repeated[1], repeated[0]))


@pytest.mark.parametrize("places", [1, 12])
def test_the_curve_of_every_resample_is_numpys_interpolation(places):
    random = np.random.default_rng(places)
    score, wrong = random.normal(size=90).round(places), random.random(90) < 0.3
    images, weights = np.arange(90) // 3, random.multinomial(30, np.full(30, 1 / 30), size=40)
    found = _counted(score, wrong, images, weights.astype(np.int32))
    curves = [
        np.interp((at := np.array(COVERAGES) * kept[-1]), np.r_[0, kept], np.r_[0, lost]) / at
        for kept, lost in zip(found.kept, found.lost, strict=True)
    ]
    np.testing.assert_array_equal(found.risk(COVERAGES), curves)


def test_a_constant_says_nothing_and_a_perfect_score_all():
    wrong = np.array([True, False, False, True, False])
    sample = Sample(wrong, np.arange(5), image_counts(5, 4, np.random.default_rng(0)))
    flat, perfect = measure(np.zeros(5), sample), measure(wrong.astype(float), sample)
    assert (flat.auroc, perfect.auroc) == (0.5, 1.0)
    assert flat.aurc == pytest.approx(0.4) and flat.risk == pytest.approx(0.4)
    assert perfect.risk[COVERAGES.index(0.6)] == 0
    assert perfect.aurc == pytest.approx((1 / 4 + 2 / 5) / 5)


@pytest.mark.parametrize("all_wrong", [True, False])
def test_where_all_answers_are_alike_there_is_no_auroc_but_a_risk(all_wrong):
    wrong = np.full(6, all_wrong)
    found = measure(np.arange(6.0), Sample(wrong, np.arange(6), np.ones((3, 6), int)))
    assert np.isnan(found.auroc) and np.isnan(found.aurocs).all()
    assert found.aurc == float(all_wrong) and (found.risks == float(all_wrong)).all()


def test_a_p_value_counts_the_resamples_on_the_smaller_side():
    differences = np.r_[np.full(97, 0.1), np.full(2, -0.1), 0.0]
    assert paired_p(differences) == pytest.approx(2 * (1 + 3) / 101)
    assert paired_p(-differences) == paired_p(differences)
    assert paired_p(np.full(199, 0.2)) == pytest.approx(0.01)
    assert paired_p(np.zeros(50)) == 1.0 and paired_p(np.full(9, np.nan)) == 1.0


def test_simple_confidences_by_scipy():
    rng = np.random.default_rng(2)
    scores = rng.uniform(-1, 1, (7, 5)).astype(np.float32)
    found = simple_confidences(scores, 20.0 * scores, scores.argmax(axis=1))
    shares = softmax(20.0 * scores.astype(float), axis=1)
    ordered = np.sort(scores, axis=1)
    assert found["similarity"].to_numpy() == pytest.approx(ordered[:, -1])
    assert found["margin"].to_numpy() == pytest.approx(ordered[:, -1].astype(float) - ordered[:, -2])
    assert found["probability"].to_numpy() == pytest.approx(shares.max(axis=1))
    assert found["entropy"].to_numpy() == pytest.approx(entr(shares).sum(axis=1))


def test_a_gallery_of_two_and_scores_that_are_all_the_same():
    scores = np.array([[0.3, 0.1], [0.2, 0.2]])
    answer, wrong = top_answers(scores, np.eye(2, dtype=bool))
    assert wrong.tolist() == [False, True] and answer.tolist() == [0, 0]
    found = simple_confidences(scores, 100.0 * scores, answer)
    assert found["margin"].tolist() == pytest.approx([0.2, 0.0])
    assert found["entropy"].tolist() == pytest.approx([0.0, np.log(2)], abs=1e-6)
    with pytest.raises(ValueError, match="a gallery of 1"):
        top_answers(scores[:, :1], np.ones((2, 1), dtype=bool))
    with pytest.raises(ValueError, match="not finite"):
        top_answers(scores * np.nan, np.eye(2, dtype=bool))


def test_a_query_without_a_right_candidate_is_wrong_and_any_right_one_will_do():
    scores = np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]])
    answer, wrong = top_answers(scores, np.array([[False, False, False], [False, True, True]]))
    assert wrong.tolist() == [True, False] and answer.tolist() == [1, 1]


def test_the_local_rank_counts_candidates_before_the_answer_and_ties_half():
    local = np.array([[0.5, 0.7, 0.6], [0.5, 0.4, 0.5], [0.2, 0.2, 0.2]])
    found = local_ranking(local, np.array([0, 0, 1]))
    assert found["local_rank"].tolist() == [2.0, 0.5, 1.0]
    assert found["local_gap"].tolist() == pytest.approx([0.2, 0.0, 0.0])


def test_every_predictor_has_a_direction():
    assert set(DOUBT) == {*TRUST_SIMPLE, *TRUST_SIGNALS, *TRUST_RANKING, *TRUST_RETURN}
    right, wrong = np.array([[0.9, 0.1, 0.0]]), np.array([[0.31, 0.3, 0.3]])
    both = pd.concat([simple_confidences(scores, 10.0 * scores, np.zeros(1, np.int64)) for scores in (right, wrong)])
    assert all(np.sign(np.diff(both[name])) == DOUBT[name] for name in TRUST_SIMPLE)


def test_log_odds_are_those_of_the_softmax_and_stay_finite():
    logits = np.array([[3.0, 1.0, 0.5], [900.0, 0.0, 0.0]])
    share = softmax(logits[0])[0]
    found = log_odds(logits[:, 0], log_total(logits))
    assert found[0] == pytest.approx(np.log(share / (1 - share))) and np.isfinite(found).all()
    assert found[1] == pytest.approx(-log_odds(logits[:, 1], log_total(logits))[1], rel=1e-4)


@given(st.integers(1, 60), st.integers(0, 10_000))
def test_the_calibration_error_is_that_of_torchmetrics(count, seed):
    from vialign.backbone.torchvision_shim import define_missing_operators

    define_missing_operators()
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(seed)
    claimed, wrong = rng.random(count), rng.random(count) < 0.4
    expected = binary_calibration_error(torch.tensor(claimed), torch.tensor(wrong).long(), n_bins=15, norm="l1")
    assert expected_calibration_error(claimed, wrong) == pytest.approx(float(expected), abs=1e-6)


def test_a_claim_that_keeps_its_word_has_no_calibration_error_and_a_boast_has():
    rng = np.random.default_rng(0)
    claimed = rng.random(200_000)
    wrong = rng.random(200_000) < claimed
    assert expected_calibration_error(claimed, wrong) < 0.01
    assert expected_calibration_error(claimed**3, wrong) > 0.1
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    with pytest.raises(ValueError, match="outside"):
        expected_calibration_error(np.array([1.2]), np.array([True]))
