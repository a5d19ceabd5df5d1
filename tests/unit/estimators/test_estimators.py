"""The estimators in scikit-learn's shape: its own checks, and the numbers of the functions behind them."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from explained import finished_run
from vialign.estimators import ConsistencyScorer, SignalCalibrator, TextDisentangler, VisualDisentangler
from vialign.signal.calibration import fit_logistic
from vialign.signal.score import agreement, consistency


@pytest.mark.parametrize(
    "estimator",
    [SignalCalibrator(), ConsistencyScorer(), VisualDisentangler(steps=1)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scikit_learns_own_checks_pass(estimator):
    results = check_estimator(estimator, on_fail=None)
    assert [(found["check_name"], found["exception"]) for found in results if found["status"] == "failed"] == []
    assert sum(found["status"] == "passed" for found in results) > 25


@pytest.fixture(scope="module")
def pairs():
    random = np.random.default_rng(0)
    aligned = np.repeat([0, 1], 60)
    return random.normal(size=(120, 2)) * 0.1 + aligned[:, None] * 0.15, aligned


def test_calibration_is_that_of_the_signal(pairs):
    similarity, aligned = pairs
    found = SignalCalibrator().fit(similarity, aligned)
    for column in (0, 1):
        expected = fit_logistic(similarity[:, column], aligned)[0].numpy(similarity[:, column])
        assert found.transform(similarity)[:, column] == pytest.approx(expected)
    assert found.score(similarity, aligned) > 0.7
    assert SignalCalibrator().fit(-similarity, aligned).transform(similarity) == pytest.approx(0.5)
    named = SignalCalibrator().fit(similarity, np.where(aligned == 1, "yes", "no"))
    assert set(named.predict(similarity)) == {"yes", "no"}


def test_consistency_is_that_of_the_signal_and_stands_in_a_pipeline(pairs):
    similarity, aligned = pairs
    calibrated = SignalCalibrator().fit_transform(similarity, aligned)
    first, second = (torch.from_numpy(column) for column in calibrated.T)
    assert ConsistencyScorer().fit_transform(calibrated)[:, 0] == pytest.approx(consistency(first, second).numpy())
    product = ConsistencyScorer(agreement=True)
    assert product.fit_transform(calibrated)[:, 0] == pytest.approx(agreement(first, second).numpy())
    whole = make_pipeline(SignalCalibrator(), clone(product)).fit(similarity, aligned)
    assert whole.score(similarity, aligned) > 0.85 and product.get_params() == {"agreement": True}


def test_the_dictionary_rebuilds_planted_concepts(pairs):
    random = np.random.default_rng(1)
    concepts = random.normal(size=(3, 6)) * 3
    patches = concepts[random.integers(0, 3, (40, 4))] + 0.05 * random.normal(size=(40, 4, 6))
    flat = patches.reshape(40, -1)
    found = VisualDisentangler(atoms=3, prototypes=3, grid=(2, 2), steps=30).fit(flat)
    assert found.transform(flat).shape == (40, 18) and found.score(flat) > 0.9
    noise = random.normal(size=flat.shape)
    assert found.score(noise) < found.score(flat) - 0.05
    with pytest.raises(ValueError, match="are no 2 by 2 patches"):
        VisualDisentangler(grid=(2, 2)).fit(flat[:, :23])


def test_phrases_are_those_of_the_signal():
    signal = finished_run()[1]
    texts = ["a red circle above a blue square", "a green star"]
    found = TextDisentangler(signal).fit(texts)
    expected = signal.encoder.texts(texts).phrases.features
    assert found.transform(texts) == pytest.approx(expected.flatten(1).numpy(), abs=1e-6)
    assert found.score(texts) == 1.0
    with pytest.raises(ValueError, match="give a fitted signal"):
        TextDisentangler().fit(texts)
