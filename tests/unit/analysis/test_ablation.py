from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from vialign.analysis.ablation import MEASURES, ablation_tables, elimination_path, shapley_value, subset_scores
from vialign.catalogue import MODULES, SUBSETS
from vialign.errors import UserError
from vialign.evaluation.two_level import two_level

GAINS = {"reweight": -0.05, "regularise": 0.0, "correct": 0.3}
KINDS = (("image_to_text", "r1"), ("text_to_image", "r1"), ("negatives", "accuracy"))


def outcomes(images=60, seeds=(0, 1), negatives=True, gains=GAINS, noise=0.0):
    """Two captions an image; a query succeeds when its difficulty is under 0.4 plus the gains of the modules."""
    rng = np.random.default_rng(0)
    difficulty = {(kind, i, n): rng.random() for kind, _ in KINDS for i in range(images) for n in range(2)}
    rows = []
    for name, modules in SUBSETS.items():
        level = 0.4 + sum(gains[module] for module in modules)
        for seed in seeds:
            for kind, measure in KINDS[: 3 if negatives else 2]:
                for i in range(images):
                    for n in range(1 if kind == "image_to_text" else 2):
                        hit = difficulty[kind, i, n] + noise * rng.normal() < level + 0.01 * seed
                        rows.append((name, seed, f"selection/{kind}", f"{i}#{n}", measure, float(hit), f"i{i}"))
                        rows.append((name, seed, f"selection/{kind}", f"{i}#{n}", "r5", 1.0, f"i{i}"))
    columns = ["method", "seed", "benchmark", "item_id", "measure", "value", "image_id"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def frame():
    return outcomes()


def test_scores_are_means_over_queries_then_seeds(frame):
    scores = subset_scores(frame)
    for name in SUBSETS:
        own = frame[(frame["method"] == name) & (frame["measure"] != "r5")]
        mean = own.groupby("benchmark")["value"].mean()
        recall = (mean["selection/image_to_text"] + mean["selection/text_to_image"]) / 2
        negatives = mean["selection/negatives"]
        expected = [recall, negatives, (recall + negatives) / 2]
        found = two_level(scores.parts["score"], [scores.mean(name)]).value
        means = [scores.parts[part][:, list(scores.columns[name].values())].mean() for part in MEASURES]
        np.testing.assert_allclose(means, expected)
        np.testing.assert_allclose(found, expected[2])


def test_planted_gains_give_the_choice_the_path_and_the_signs(frame):
    other = frame[frame["method"] == "vialign"].assign(method="lora")
    ablation, contributions = ablation_tables(pd.concat([frame, other]), level=0.05)
    assert len(ablation) == 8
    chosen = ablation[ablation["chosen"]]
    # regularisation changes nothing: of two combinations with the same score the smaller is chosen
    assert chosen["method"].tolist() == ["vialign-correct"]
    path = ablation[ablation["path"] >= 0].sort_values("path")["method"].tolist()
    assert path == ["vialign", "vialign-regularise-correct", "vialign-correct", "vialign-none"]
    assert (ablation["low"] <= ablation["score"]).all() and (ablation["score"] <= ablation["high"]).all()
    assert (ablation["low"] < ablation["high"]).all()
    score = contributions[contributions["measure"] == "score"].set_index("module")
    assert score.loc["correct", "low"] > 0 and score.loc["reweight", "high"] < 0
    assert score.loc["regularise", ["removal", "shapley"]].tolist() == [0, 0]
    # No query changed, yet one of other sixty images could.
    assert score.loc["regularise", ["low", "high"]].tolist() == pytest.approx([-2.001 / 60, 2.001 / 60], rel=1e-3)
    assert len(contributions) == 9


def test_shapley_values_are_the_mean_over_orders_and_share_out_the_whole_gain():
    rng = np.random.default_rng(1)
    score = {frozenset(modules): rng.random() for modules in SUBSETS.values()}
    for module in MODULES:
        gains = []
        for order in permutations(MODULES):
            before = frozenset(order[: order.index(module)])
            gains.append(score[before | {module}] - score[before])
        assert shapley_value(module, score) == pytest.approx(np.mean(gains))
    total = sum(shapley_value(module, score) for module in MODULES)
    assert total == pytest.approx(score[frozenset(MODULES)] - score[frozenset()])


def test_the_path_is_greedy():
    score = {frozenset(modules): len(modules) / 10 for modules in SUBSETS.values()}
    score[frozenset({"reweight", "correct"})] = 0.9
    score[frozenset({"regularise"})] = 1.0
    score[frozenset({"reweight"})] = 0.5
    path = elimination_path(score)
    assert path == [frozenset(MODULES), frozenset({"reweight", "correct"}), frozenset({"reweight"}), frozenset()]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Removal of a module without effect, under noise: its interval should hold 0 in most draws."""
    inside = 0
    for draw in range(10):
        rng = np.random.default_rng(draw)
        frame = outcomes(images=40, seeds=(0,), gains=dict.fromkeys(MODULES, 0.0))
        flip = rng.random(len(frame)) < 0.2
        frame.loc[flip, "value"] = 1 - frame.loc[flip, "value"]
        _, contributions = ablation_tables(frame, level=0.1)
        row = contributions[(contributions["module"] == "correct") & (contributions["measure"] == "score")].iloc[0]
        inside += row["low"] <= 0 <= row["high"]
    assert inside >= 7


def test_without_negatives_the_score_is_recall():
    ablation, contributions = ablation_tables(outcomes(negatives=False), level=0.05)
    assert ablation["negatives"].isna().all() and (ablation["score"] == ablation["recall"]).all()
    assert set(contributions["measure"]) == {"recall", "score"}


def test_missing_subsets_seeds_and_queries_are_errors(frame):
    settings = {"level": 0.05}
    with pytest.raises(UserError, match="no selection outcomes of 'vialign-correct'"):
        ablation_tables(frame[frame["method"] != "vialign-correct"], **settings)
    with pytest.raises(UserError, match="'vialign-none' has other seeds"):
        ablation_tables(frame[(frame["method"] != "vialign-none") | (frame["seed"] == 0)], **settings)
    short = frame[(frame["method"] != "vialign-none") | (frame["image_id"] != "i3")]
    with pytest.raises(UserError, match="same queries"):
        ablation_tables(short, **settings)
