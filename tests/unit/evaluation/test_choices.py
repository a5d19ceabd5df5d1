import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.evaluation.choices import choice_outcomes
from vialign.evaluation.forms import winoground_decisions


def item(name, images, texts, benchmark="aro_relation", tag="above", right=None):
    return {
        "right": right,
        "item_id": f"{benchmark}/{name}",
        "benchmark": benchmark,
        "split": "test",
        "tag": tag,
        "images": images,
        "texts": texts,
    }


def scorer(table):
    """A method that looks its scores up, and counts how often it is called."""

    def pair_scores(image_ids, text_ids):
        pair_scores.calls += 1
        return np.array([table[pair] for pair in zip(image_ids, text_ids, strict=True)])

    pair_scores.calls = 0
    return pair_scores


@given(st.integers(1, 30), st.integers(0, 10_000))
def test_winoground_equals_the_published_definition(items, seed):
    scores = np.random.default_rng(seed).integers(4, size=(items, 2, 2)).astype(float)
    decisions = winoground_decisions(scores)
    for n, ((c0_i0, c1_i0), (c0_i1, c1_i1)) in enumerate(scores):
        text = c0_i0 > c1_i0 and c1_i1 > c0_i1
        image = c0_i0 > c0_i1 and c1_i1 > c1_i0
        assert (decisions["text"][n], decisions["image"][n], decisions["group"][n]) == (text, image, text and image)


def test_random_scores_give_the_known_chance_levels():
    scores = np.random.default_rng(0).normal(size=(200_000, 2, 2))
    decisions = {name: won.mean() for name, won in winoground_decisions(scores).items()}
    assert decisions["text"] == pytest.approx(1 / 4, abs=0.005)
    assert decisions["image"] == pytest.approx(1 / 4, abs=0.005)
    assert decisions["group"] == pytest.approx(1 / 6, abs=0.005)


def test_forms_of_different_width_are_scored_in_one_call_and_keep_their_order():
    choices = pd.DataFrame(
        [
            item(0, ["x"], ["true", "wrong"]),
            item(1, ["x", "y"], ["a", "b"], benchmark="winoground", tag="Object"),
            item(2, ["y"], ["true", "wrong", "worse", "worst", "last"], benchmark="aro_order", tag=""),
        ]
    )
    table = {("x", "aro_relation/0:0"): 0.2, ("x", "aro_relation/0:1"): 0.7}
    table |= {("y", f"aro_order/2:{j}"): value for j, value in enumerate((0.9, 0.1, 0.8, 0.2, 0.3))}
    table |= {("x", "winoground/1:0"): 0.5, ("x", "winoground/1:1"): 0.1}
    table |= {("y", "winoground/1:0"): 0.6, ("y", "winoground/1:1"): 0.7}
    method = scorer(table)
    rows = choice_outcomes(choices, method).set_index(["benchmark", "measure"])
    assert method.calls == 1
    assert rows["value"].to_dict() == {
        ("winoground", "text"): 1,
        ("winoground", "image"): 0,
        ("winoground", "group"): 0,
        ("winoground", "match"): 1,
        ("aro_relation", "accuracy"): 0,
        ("aro_order", "accuracy"): 1,
    }
    assert rows.loc[("aro_relation", "accuracy"), "chosen"] == "aro_relation/0:1"
    assert rows.loc[("winoground", "image"), "chosen"] == "y"
    assert rows.loc[("winoground", "group"), "chosen"] == "y"
    assert rows["tag"].to_dict()[("aro_relation", "accuracy")] == "above"
    assert pd.isna(rows.loc[("aro_order", "accuracy"), "tag"])
    assert rows.loc[("aro_order", "accuracy"), "image_id"] == "y"


def test_a_tie_is_wrong_and_flagged_and_a_loss_is_not_a_tie():
    choices = pd.DataFrame([item(n, ["x"], ["true", "wrong", "other"]) for n in range(3)])
    values = {0: (0.5, 0.5, 0.1), 1: (0.5, 0.6, 0.5), 2: (0.5, 0.4, 0.1)}
    table = {("x", f"aro_relation/{n}:{j}"): value for n, row in values.items() for j, value in enumerate(row)}
    rows = choice_outcomes(choices, scorer(table))
    assert rows["value"].tolist() == [0, 0, 1]
    assert rows["tie"].tolist() == [True, False, False]
    # Accuracy with ties counted as right is the mean plus the share of ties.
    assert (rows["value"] + rows["tie"]).tolist() == [1, 0, 1]


def test_winoground_ties_are_those_that_the_lenient_reading_forgives():
    choices = pd.DataFrame([item(0, ["x", "y"], ["a", "b"], benchmark="winoground")])
    table = {("x", "winoground/0:0"): 0.5, ("x", "winoground/0:1"): 0.5}
    table |= {("y", "winoground/0:0"): 0.4, ("y", "winoground/0:1"): 0.6}
    rows = choice_outcomes(choices, scorer(table)).set_index("measure")
    assert rows["value"].to_dict() == {"text": 0, "image": 1, "group": 0, "match": 1}
    assert rows["tie"].to_dict() == {"text": True, "image": False, "group": True, "match": False}
    assert rows.loc["text", "chosen"] == "winoground/0:1"


@pytest.mark.parametrize(("images", "texts"), [(["x", "y"], ["a", "b", "c"]), (["x"], ["a"]), ([], ["a", "b"])])
def test_an_item_of_another_form_is_refused_by_name(images, texts):
    with pytest.raises(ValueError, match="choice item aro_relation/0"):
        choice_outcomes(pd.DataFrame([item(0, images, texts)]), scorer({}))


def test_a_score_that_is_not_finite_is_an_error():
    choices = pd.DataFrame([item(0, ["x"], ["a", "b"])])
    with pytest.raises(ValueError, match="not finite"):
        choice_outcomes(choices, lambda images, texts: np.array([0.5, np.nan]))


def test_no_items_give_no_rows():
    choices = pd.DataFrame([item(0, ["x"], ["a", "b"])]).iloc[:0]
    assert choice_outcomes(choices, scorer({})).empty
