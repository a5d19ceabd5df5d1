"""Each convention is held against a loop over items, and against scikit-learn where that has it."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, recall_score

from vialign.evaluation.choices import choice_outcomes, text_id
from vialign.evaluation.compare import results_table
from vialign.evaluation.conventions import TagRule, aro_tag_rules, lenient_outcomes, published_outcomes
from vialign.evaluation.retrieval import recall, retrieval_outcomes, retrieval_ranks
from vialign.tables.evaluation import RESULTS


def outcomes_of(values, tags, *, benchmark="aro/aro_relation", method="frozen", seed=0, ties=False, measure="accuracy"):
    items = [f"item{n:04}" for n in range(len(values))]
    rows = {"item_id": items, "value": np.asarray(values, float), "tag": tags, "tie": ties, "image_id": items}
    names = {"benchmark": benchmark, "method": method, "seed": seed, "measure": measure, "chosen": None}
    return pd.DataFrame(rows).assign(**names)


def values(outcomes, rules=None):
    return results_table(outcomes, tag_rules=rules).set_index("convention")["value"].to_dict()


@settings(max_examples=12)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=2, max_size=60))
def test_micro_and_macro_are_those_of_a_loop_and_of_scikit_learn(items):
    tags, right = [tag for tag, _ in items], [won for _, won in items]
    found = values(outcomes_of(right, tags))
    assert found["micro"] == pytest.approx(sum(right) / len(right))
    shares = [np.mean([won for tag, won in items if tag == name]) for name in sorted(set(tags))]
    if len(shares) > 1:
        assert found["macro"] == pytest.approx(np.mean(shares))
    else:
        assert "macro" not in found
    # An item of tag t that is won is a prediction of t, a lost one a prediction of the class that nobody has.
    predicted = [tag if won else "nobody" for tag, won in items]
    assert found["micro"] == pytest.approx(accuracy_score(tags, predicted))
    macro = recall_score(tags, predicted, labels=sorted(set(tags)), average="macro")
    assert found.get("macro", shares[0]) == pytest.approx(macro)


@settings(max_examples=12)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 10_000))
def test_lenient_is_the_argmax_that_takes_the_first_of_tied_captions(items, captions, seed):
    scores = np.random.default_rng(seed).integers(3, size=(items, captions)).astype(float)
    names = [f"aro_coco_order/{n}" for n in range(items)]
    choices = pd.DataFrame(
        {"item_id": names, "benchmark": "aro_coco_order", "split": "test", "tag": "", "right": None}
        | {"images": [["x"]] * items, "texts": [[str(j) for j in range(captions)]] * items}
    )
    table = {text_id(name, j): scores[n, j] for n, name in enumerate(names) for j in range(captions)}
    rows = choice_outcomes(choices, lambda images, texts: np.array([table[text] for text in texts]))
    rows = rows.assign(method="frozen", seed=0, benchmark="test/aro_coco_order")
    strict = np.mean([all(row[0] > row[j] for j in range(1, captions)) for row in scores])
    lenient = np.mean([int(np.argmax(row)) == 0 for row in scores])
    found = results_table(rows).set_index("convention")
    assert found.loc["micro", "value"] == pytest.approx(strict)
    assert found.loc["micro", "ties"] == pytest.approx(items * (lenient - strict))
    if lenient > strict:
        assert found.loc["lenient", "value"] == pytest.approx(lenient)
        assert found.loc["lenient", "ties"] == found.loc["micro", "ties"]
    else:
        assert "lenient" not in found.index


@settings(max_examples=12)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 10_000))
def test_lenient_recall_counts_only_what_ranks_before_the_truth(images, each, seed):
    scores = np.random.default_rng(seed).integers(3, size=(images, images * each)).astype(float)
    image_of_caption = np.repeat(np.arange(images), each)
    ranks = retrieval_ranks([torch.tensor(scores)], torch.tensor(image_of_caption), images)
    for k in (1, 5, 10):
        before = [
            sum(scores[i, c] > scores[i, image_of_caption == i].max() for c in range(images * each)) < k
            for i in range(images)
        ]
        assert recall(ranks[0], k, strict=False) == pytest.approx(np.mean(before))
        before = [
            sum(scores[i, c] > scores[image_of_caption[c], c] for i in range(images)) < k for c in range(images * each)
        ]
        assert recall(ranks[1], k, strict=False) == pytest.approx(np.mean(before))
    names = [f"i{n}" for n in range(images)]
    captions = pd.DataFrame({"text_id": [f"c{n}" for n in range(images * each)]})
    captions["image_id"] = [names[n] for n in image_of_caption]
    rows = lenient_outcomes(retrieval_outcomes(*ranks, names, captions))
    for (benchmark, measure), group in rows.groupby(["benchmark", "measure"]):
        direction = ranks[0] if benchmark == "image_to_text" else ranks[1]
        assert group["value"].mean() == pytest.approx(recall(direction, int(measure[1:]), strict=False))


def test_ties_of_a_share_have_no_lenient_reading():
    shares = outcomes_of([0.5, 1.0], None, ties=[True, False], measure="soft_accuracy")
    assert lenient_outcomes(shares).empty
    assert list(values(shares)) == ["micro"]
    whole = outcomes_of([0, 1], None, ties=[True, False])
    assert lenient_outcomes(whole)["value"].tolist() == [1, 1]
    assert whole["value"].tolist() == [0, 1]


def test_the_published_mean_of_relations_drops_symmetric_ones():
    tags = ["on"] * 6 + ["next to"] * 2 + ["riding"] * 2
    right = [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    found = values(outcomes_of(right, tags), aro_tag_rules({"next to", "near"}))
    assert found == {
        "micro": pytest.approx(0.5),
        "macro": pytest.approx((0.5 + 0 + 1) / 3),
        "published": pytest.approx((0.5 + 1) / 2),
    }


def test_the_published_mean_of_attributes_drops_rare_pairs():
    tags = ["old_white"] * 24 + ["big_red"] * 25 + ["wet_dry"] * 30
    right = [0] * 24 + [1] * 25 + [0] * 15 + [1] * 15
    rows = outcomes_of(right, tags, benchmark="aro/aro_attribution")
    assert values(rows, aro_tag_rules(()))["published"] == pytest.approx((1 + 0.5) / 2)
    # Two methods with two seeds each do not make a rare pair frequent.
    many = pd.concat([rows.assign(method=m, seed=s) for m in ("frozen", "lora") for s in (0, 1)])
    assert set(published_outcomes(many, aro_tag_rules(()))["tag"]) == {"big_red", "wet_dry"}


def test_other_benchmarks_have_no_published_mean_and_the_table_is_declared():
    tags, right = ["a"] * 5 + ["b"] * 5, [1, 0] * 5
    embedded = outcomes_of(right, tags, benchmark="test/aro_relation")
    assert set(values(embedded, aro_tag_rules({"a"}))) == {"micro", "macro"}
    rows = pd.concat([embedded, outcomes_of(right, tags, ties=[False, True] * 5)])
    table = RESULTS.check(results_table(rows, tag_rules={"aro/aro_relation": TagRule()}))
    assert sorted(table[table["benchmark"] == "aro/aro_relation"]["convention"]) == [
        "lenient",
        "macro",
        "micro",
        "published",
    ]
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"] + 1e-9).all()
