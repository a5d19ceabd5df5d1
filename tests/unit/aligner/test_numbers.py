"""What an export says of a method, and of which weights: trust in first answers, measured numbers, costs, verdicts."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import vialign
from explained import finished_run
from measured import GALLERY, measured_run, pictures, selection
from vialign.aligner.about import About, Cost, Measured, read_about
from vialign.aligner.export import aligner_of_run, write_export
from vialign.aligner.ranking import PREDICTORS, fit_trust
from vialign.random import derive_seed

STORED = 0.02
"""What a chance may differ by where features went through half precision on their way to the regression."""


def regression(predictors, wrong):
    """Scikit-learn's own, of predictors as they are written in docs and code: a rank by its logarithm."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(columns(predictors), wrong)


def columns(predictors):
    values = predictors[list(PREDICTORS)].to_numpy(float, copy=True)
    rank = PREDICTORS.index("local_rank")
    values[:, rank] = np.log(1 + values[:, rank])
    return values


@pytest.fixture(scope="module")
def planted():
    """Answers of which the similarity and the local rank tell whether they are wrong, and their images."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=300) for name in PREDICTORS})
    frame["local_rank"] = random.integers(0, 40, 300).astype(float)
    odds = (-1.5 * frame["similarity"] + 0.8 * np.log1p(frame["local_rank"]) - 1).to_numpy()
    return frame, random.random(300) < 1 / (1 + np.exp(-odds)), np.repeat(np.arange(60), 5)


def test_the_rule_claims_what_scikit_learns_regression_claims(planted):
    frame, wrong, images = planted
    rule = fit_trust(frame[:200], wrong[:200], images[:200], 37)
    expected = regression(frame[:200], wrong[:200]).predict_proba(columns(frame[200:]))[:, 0]
    assert rule.right(frame[200:]) == pytest.approx(expected, abs=1e-9)
    assert expected.min() < 0.2 and expected.max() > 0.8, "all alike, so the test shows nothing"
    assert (rule.gallery, rule.queries) == (37, 200) and rule.wrong == wrong[:200].mean()
    # A rule is worth something where it says more often "right" of the answers that are.
    assert rule.right(frame[200:])[~wrong[200:]].mean() > rule.right(frame[200:])[wrong[200:]].mean() + 0.1


def test_the_rules_auroc_is_cross_validated_by_image(planted):
    frame, wrong, images = planted
    division = GroupKFold(5, shuffle=True, random_state=derive_seed(0, "trust folds") % 2**32)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    crossed = cross_val_predict(model, columns(frame), wrong, groups=images, cv=division, method="decision_function")
    assert fit_trust(frame, wrong, images, 9).auroc == pytest.approx(roc_auc_score(wrong, crossed), abs=1e-9)


def test_nothing_can_be_learnt_where_all_answers_are_alike(planted):
    frame, wrong, images = planted
    for same in (np.zeros_like(wrong), np.ones_like(wrong)):
        assert fit_trust(frame, same, images, 9) is None
    assert fit_trust(frame, wrong, np.zeros_like(images), 9) is None


@pytest.fixture(scope="module")
def made():
    return aligner_of_run(measured_run(), "vialign")


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers") / "vialign"
    write_export(made, folder, with_backbone=False, folded=False)
    return folder


def by_hand(aligner, image_paths, captions):
    """Predictors of every query's answer and whether it is wrong, one query at a time."""
    scores = aligner.score(image_paths, captions["text"].tolist()).T.double().numpy()
    prototypes = aligner.prototypes(image_paths)
    owners = captions["image_id"].map({path.name: place for place, path in enumerate(image_paths)})
    rows, wrong = [], []
    for query, (own, text) in enumerate(zip(owners, captions["text"], strict=True)):
        first, second = np.sort(scores[query])[::-1][:2]
        answer = int(scores[query].argmax())
        share = np.exp(aligner.backbone.logit_scale * (scores[query] - first))
        share /= share.sum()
        local = aligner.local(prototypes, text).double().numpy()
        before = sum(value > local[answer] for value in local)
        row = {"similarity": first, "margin": first - second, "probability": share[answer]}
        row |= {"entropy": -(share * np.log(share)).sum(), "local_rank": float(before)}
        rows.append({**row, "local_gap": local.max() - local[answer]})
        wrong.append(answer != own)
    return pd.DataFrame(rows), np.array(wrong)


def test_the_trust_of_a_run_is_fitted_on_its_queries_of_selection(made):
    captions = selection()
    paths = [pictures() / name for name in captions["image_id"].drop_duplicates()]
    frame, wrong = by_hand(made, paths, captions)
    expected = regression(frame, wrong).predict_proba(columns(frame))[:, 0]
    assert (made.trust.gallery, made.trust.queries) == (GALLERY, len(captions)) == (len(paths), 5 * len(paths))
    assert made.trust.wrong == wrong.mean() and 0 < wrong.mean() < 1
    found = [made.rank(paths, text).trust.right for text in captions["text"]]
    assert found == pytest.approx(expected.tolist(), abs=STORED)
    assert expected.max() - expected.min() > 4 * STORED, "all alike, so the test shows nothing"


def test_trust_survives_writing_and_loading(made, exported):
    loaded = vialign.load(exported)
    assert made.trust is not None and loaded.trust == made.trust
    paths = sorted(pictures().glob("*.png"))[:12]
    first, again = (aligner.rank(paths, "a red circle") for aligner in (made, loaded))
    assert again.trust.right == pytest.approx(first.trust.right, abs=1e-5) and 0 < first.trust.right < 1
    rule = made.trust
    card = (exported / "README.md").read_text()
    assert f"fitted on {rule.queries} queries of a gallery of {GALLERY} images" in card
    assert f"{100 * rule.wrong:.0f} % of them answered wrong" in card and f"an AUROC of {rule.auroc:.2f}" in card
    assert finished_run()[0].results != made.config.results
    assert aligner_of_run(finished_run()[0].config, "vialign").trust is None, "a run without that split has no rule"


def test_the_card_has_the_numbers_costs_and_verdicts_of_the_run(made, exported):
    about = read_about(exported)
    assert about.measured == [
        Measured(name="test/text_to_image, r1", value=0.41, low=0.38, high=0.44, frozen=0.30, count=200, seeds=2),
        Measured(name="test/aro_relation, accuracy", value=0.58, low=0.55, high=0.61, frozen=0.52, count=90, seeds=2),
        Measured(name="test/winoground, group", value=0.11, low=0.05, high=0.17, frozen=None, count=40, seeds=2),
    ]
    overhead = Cost(
        name="inference_overhead", value=0.034, low=0.021, high=0.047, unit="of the reference", backbone="ViT-B-32"
    )
    assert about.costs == [Cost(name="parameters_extra", value=123456, unit="numbers", backbone="ViT-B-32"), overhead]
    assert about.gates == {"signal": "warn", "budget": "go"}
    lines = (exported / "README.md").read_text().splitlines()
    assert {
        "| test/text_to_image, r1 | 41.0 | 38.0 to 44.0 | 30.0 | 200 | 2 |",
        "| test/aro_relation, accuracy | 58.0 | 55.0 to 61.0 | 52.0 | 90 | 2 |",
        "| test/winoground, group | 11.0 | 5.0 to 17.0 |  | 40 | 2 |",
        "| numbers stored beyond the backbone | 123,456 | ViT-B-32 |",
        "| further time at inference, % | 3.4 (2.1 to 4.7) | ViT-B-32 |",
        "- The signal gate of its run did not pass (the run went on, as its config says).",
        "- The budget gate of its run passed.",
    } <= set(lines)
    assert not [line for line in lines if "r5" in line or "99.0" in line or "Nothing was measured" in line]


def test_a_method_of_the_full_comparison_alone_has_its_numbers_from_there():
    about = aligner_of_run(measured_run(), "bitfit").about
    numbers = {"value": 0.33, "low": 0.28, "high": 0.38, "frozen": 0.29, "count": 200, "seeds": 1}
    assert about.measured == [Measured(name="test/text_to_image, r1", **numbers)]
    assert about.costs == [] and about.trust is not None


def train_on(aligner, paths):
    captions = [f"a red circle number {place}" for place in range(len(paths))]
    optimiser = torch.optim.Adam(aligner.method.trainable().values(), 0.01)
    aligner.loss(paths, captions)["loss"].backward()
    optimiser.step()


def test_numbers_of_other_weights_are_left_out_after_further_training(exported, tmp_path):
    paths = sorted(pictures().glob("*.png"))[:5]
    aligner = vialign.load(exported)
    before = read_about(exported)
    aligner.score(paths, ["a red circle"])
    aligner.save_pretrained(tmp_path / "same")
    assert read_about(tmp_path / "same") == before and before.measured and before.costs and before.trust
    train_on(aligner, paths)
    aligner.save_pretrained(tmp_path / "further")
    loaded = vialign.load(tmp_path / "further")
    for folder in ("further", "again"):
        about = read_about(tmp_path / folder)
        assert (about.measured, about.costs, about.trust, about.changed) == ([], [], None, True)
        assert (about.gates, about.seed, about.method) == (before.gates, before.seed, before.method)
        card = (tmp_path / folder / "README.md").read_text()
        assert "numbers, costs and trust do not belong to these weights" in card
        assert "41.0" not in card and "AUROC" not in card and "saved from memory" not in card
        if folder == "further":
            assert loaded.rank(paths, "a red circle").trust.right is None
            loaded.save_pretrained(tmp_path / "again")


def test_a_method_without_numbers_that_is_trained_on_loses_none():
    plain = About(method="bitfit", backbone={"architecture": "x"}, contract={"architecture": "x"}, tensors="0")
    assert plain.without_numbers() == plain
    assert plain.model_copy(update={"name": "run"}).without_numbers().changed
