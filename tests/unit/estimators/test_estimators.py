"""The estimators in scikit-learn's shape: its own checks, and the numbers of the functions behind them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from captioned import QUICK
from explained import FOLDER, finished_run
from vialign.aligner.sides import opened
from vialign.disentangle import Prototypes, fit_text
from vialign.disentangle.caption_data import type_captions
from vialign.estimators import ConsistencyScorer, SignalCalibrator, TextDisentangler, VisualDisentangler
from vialign.features import extract_texts, read_texts
from vialign.language.units import extract_units
from vialign.signal.calibration import fit_logistic
from vialign.signal.score import agreement, consistency
from vialign.tables.language import TEXTS
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
    """A fitted signal, and the captions of some images with the files of these."""
    signal = finished_run()[1]
    captions = read_captions(FOLDER / "shapes/images", FOLDER / "shapes/captions.csv")
    table = texts_of(captions.table, captions.image_ids[:20])
    return signal, table["text"].tolist(), [captions.folder / image for image in table["image_id"]]


def test_phrase_units_are_fitted_as_a_run_fits_them(captioned, tmp_path):
    signal, texts, pictures = captioned
    encoder, config = signal.encoder, QUICK.text
    found = TextDisentangler(signal, steps=config.steps, batch=config.batch).fit(texts, pictures)
    names = [str(place) for place in range(len(texts))]
    rows = {"text_id": names, "image_id": "x", "text": texts, "split": "train", "kind": "caption"}
    table = TEXTS.check(pd.DataFrame(rows))
    extract_texts(encoder.backbone, table, tmp_path, batch=7, shard=30, provenance={})
    units, _ = extract_units(table, encoder.parser)
    files = list(dict.fromkeys(pictures))
    prototypes = Prototypes.concatenate([encoder.images([opened(file)]).prototypes for file in files])
    owner, every = torch.tensor([files.index(file) for file in pictures]), torch.arange(len(texts))
    typed = type_captions(table, units, every, config, encoder.backbone, encoder.parser, 0)
    wanted, log = fit_text(read_texts(tmp_path), units, owner, prototypes, config, 0, every, typed)
    assert found.losses_ == pytest.approx(log["loss"].to_numpy(), abs=1e-3)
    # The run reads its features in half precision, and Adam makes steps of what that rounds: units, not weights, agree.
    units_of = {
        name: replace(encoder, text=text).texts(texts[:3]).phrases.features
        for name, text in (("run", wanted), ("own", found.text_), ("before", encoder.text))
    }
    near, far = (torch.cosine_similarity(units_of["run"], units_of[name], dim=-1) for name in ("own", "before"))
    present = units_of["run"].norm(dim=-1) > 0
    assert float(near[present].min()) > 0.99 > float(far[present].mean())
    expected = replace(encoder, text=found.text_).texts(texts[:3]).phrases.features.flatten(1).numpy()
    assert found.transform(texts[:3]) == pytest.approx(expected, abs=1e-6)
    assert found.transform(texts[:3]) != pytest.approx(signal.encoder.texts(texts[:3]).phrases.features.flatten(1))


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
