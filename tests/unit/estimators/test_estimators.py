"""The estimators in scikit-learn's shape: its own checks, and the numbers of the functions behind them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from captioned import QUICK
from explained import FOLDER, finished_run
from vialign.aligner.sides import opened
from vialign.estimators import ConsistencyScorer, SignalCalibrator, TextDisentangler, VisualDisentangler
from vialign.signal.calibration import fit_logistic
from vialign.signal.score import agreement, consistency
from vialign.toolkit import read_captions
from vialign.toolkit.fitting import texts_of


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


@pytest.fixture(scope="module")
def captioned():
    """A fitted signal, and the captions that its units were fitted on with the files of their images, in that order."""
    signal = finished_run()[1]
    captions = read_captions(FOLDER / "shapes/images", FOLDER / "shapes/captions.csv")
    images = signal.images.loc[signal.images["used_for"] == "fit", "image_id"].tolist()
    texts = texts_of(captions.table, images)
    order = {image: place for place, image in enumerate(images)}
    # Pictures are numbered as they come, so they come in the signal's order.
    texts = texts.iloc[np.argsort(texts["image_id"].map(order).to_numpy(), kind="stable")]
    return signal, texts["text"].tolist(), [captions.folder / image for image in texts["image_id"]]


def test_phrase_units_are_fitted_as_the_signal_fits_them(captioned, monkeypatch):
    signal, texts, pictures = captioned
    found = TextDisentangler(signal, steps=QUICK.text.steps, batch=QUICK.text.batch).fit(texts, pictures)
    assert found.losses_.shape == (QUICK.text.steps,) and found.losses_[-1] < found.losses_[0]
    before, wanted = TextDisentangler(signal, steps=1, learning_rate=1e-9).fit(texts, pictures), signal.encoder.text
    own = found.text_.state_dict()
    for name, tensor in wanted.state_dict().items():
        # The signal's patches were in half precision, which the optimiser makes more of.
        torch.testing.assert_close(
            own[name], tensor, rtol=0.05, atol=0.02, msg=lambda said, name=name: f"{name}: {said}"
        )
    assert any(not torch.allclose(before.text_.state_dict()[name], tensor, atol=0.05) for name, tensor in own.items())
    encoder = replace(signal.encoder, text=found.text_)
    expected = encoder.texts(texts[:3]).phrases.features.flatten(1).numpy()
    assert found.transform(texts[:3]) == pytest.approx(expected, abs=1e-6)


def test_the_score_of_phrase_units_is_the_local_recall(captioned):
    signal, texts, pictures = captioned
    found = TextDisentangler(signal, steps=2).fit(texts, pictures)
    some, shown = texts[::5][:4], pictures[::5][:4]
    fitted = replace(signal, encoder=replace(signal.encoder, text=found.text_))
    local = [[fitted.score([opened(picture)], [text])["s_local"].iloc[0] for picture in shown] for text in some]
    won = [all(row[place] > rival for n, rival in enumerate(row) if n != place) for place, row in enumerate(local)]
    assert found.score(some, shown) == np.mean(won)
    assert clone(found).get_params()["steps"] == 2


def test_phrase_units_ask_for_what_they_need(captioned):
    signal, texts, pictures = captioned
    with pytest.raises(NotFittedError):
        TextDisentangler(signal).transform(texts)
    with pytest.raises(ValueError, match="100 texts with none pictures; give each text its own as y"):
        TextDisentangler(signal).fit(texts)
    with pytest.raises(ValueError, match="100 texts with 99 pictures"):
        TextDisentangler(signal).fit(texts, pictures[1:])
    with pytest.raises(ValueError, match="at least two images are needed"):
        TextDisentangler(signal, steps=1).fit(texts[:5], pictures[:5])
    with pytest.raises(ValueError, match="give a fitted signal"):
        TextDisentangler().fit(texts, pictures)
