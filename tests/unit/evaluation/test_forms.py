"""The forms of test items against loops over the words of their definitions, and guessing by simulation."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.evaluation.test_choices import item, scorer
from vialign.evaluation.choices import choice_outcomes
from vialign.evaluation.forms import (
    all_right,
    best_threshold,
    chance_of_all,
    chance_with_ties,
    text_only_right,
    winoground_decisions,
)

seeds = st.integers(0, 10_000)


@given(st.integers(1, 30), seeds)
def test_match_asks_which_matching_of_images_and_captions_has_the_larger_sum(items, seed):
    scores = np.random.default_rng(seed).integers(4, size=(items, 2, 2)).astype(float)
    for strict in (True, False):
        found = winoground_decisions(scores, strict=strict)
        for n, score in enumerate(scores):
            sums = {order: sum(score[i, j] for i, j in enumerate(order)) for order in permutations(range(2))}
            rivals = [total for order, total in sums.items() if order != (0, 1)]
            assert found["match"][n] == (sums[0, 1] > max(rivals) if strict else sums[0, 1] >= max(rivals))
        assert not (found["group"] & ~found["match"]).any()


@given(st.integers(2, 6), seeds)
def test_all_right_texts_must_beat_all_wrong_ones(texts, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(4, size=(20, texts)).astype(float)
    right = rng.integers(1, texts, size=20)
    for strict in (True, False):
        for row, count, won in zip(scores, right, all_right(scores, right, strict=strict), strict=True):
            pairs = product(row[:count], row[count:])
            assert won == all(true > wrong if strict else true >= wrong for true, wrong in pairs)


@given(seeds)
def test_text_only_is_decided_from_both_right_captions(seed):
    similarity = np.random.default_rng(seed).integers(4, size=(20, 3)).astype(float)
    for (both, first, second), won in zip(similarity, text_only_right(similarity), strict=True):
        assert won == (both > first and both > second)


@given(st.integers(1, 12), seeds)
def test_no_other_threshold_is_right_more_often(count, seed):
    rng = np.random.default_rng(seed)
    scores, true = rng.integers(5, size=count).astype(float), rng.integers(2, size=count).astype(bool)
    found = best_threshold(scores, true)
    reached = ((scores > found) == true).sum()
    assert reached == max(((scores > limit) == true).sum() for limit in (-1, 0, 1, 2, 3, 4, 0.5, 1.5, 2.5, 3.5, 4.5))
    assert found not in scores


def test_a_threshold_lies_in_the_middle_between_true_and_false():
    assert best_threshold(np.array([0.1, 0.5]), np.array([False, True])) == pytest.approx(0.3)
    assert best_threshold(np.array([0.1, 0.5]), np.array([True, True])) == -np.inf
    assert best_threshold(np.array([0.1, 0.5]), np.array([False, False])) == np.inf
    with pytest.raises(ValueError, match="statements to be chosen on"):
        best_threshold(np.empty(0), np.empty(0, bool))


def test_random_scores_reach_what_guessing_is_said_to_reach():
    rng = np.random.default_rng(0)
    assert winoground_decisions(rng.normal(size=(200_000, 2, 2)))["match"].mean() == pytest.approx(1 / 2, abs=0.005)
    for texts, right in ((2, 1), (4, 1), (3, 2), (5, 2)):
        won = all_right(rng.normal(size=(200_000, texts)), np.full(200_000, right))
        assert won.mean() == pytest.approx(chance_of_all(texts, right), abs=0.005)
    assert text_only_right(rng.normal(size=(200_000, 3))).mean() == pytest.approx(1 / 3, abs=0.005)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=5), st.data())
def test_ties_are_broken_by_every_order_alike(scores, data):
    right = data.draw(st.integers(1, len(scores) - 1))
    orders = list(permutations(range(len(scores))))
    won = 0
    for order in orders:
        ranked = sorted(range(len(scores)), key=lambda place, order=order: (-scores[place], order[place]))
        won += set(ranked[:right]) == set(range(right))
    assert chance_with_ties(np.array(scores, float), right) == pytest.approx(won / len(orders))


def looked_up(choices, values):
    """A method whose scores are given by item, an image after the other."""
    table = {}
    for row in choices.to_dict("records"):
        pairs = product(row["images"], (f"{row['item_id']}:{j}" for j in range(len(row["texts"]))))
        table |= dict(zip(pairs, values[row["item_id"].rpartition("/")[2]], strict=True))
    return scorer(table)


def test_every_form_is_scored_in_one_call_by_its_own_measures():
    choices = pd.DataFrame(
        [
            item("both", ["x"], ["a", "b", "wrong"], benchmark="sugarcrepe_pp_swap_att", right=2),
            item("lost", ["x"], ["a", "b", "wrong"], benchmark="sugarcrepe_pp_swap_att", right=2),
            item("svo", ["x", "y"], ["a"], benchmark="svo_probes", tag="verb"),
            item("tied", ["x", "y"], ["a"], benchmark="svo_probes", tag="verb"),
            item("dev0", ["x"], ["s"], benchmark="vsr_random_dev", right=0),
            item("dev1", ["x"], ["s"], benchmark="vsr_random_dev", right=1),
            item("true", ["x"], ["s"], benchmark="vsr_random", right=1),
            item("false", ["y"], ["s"], benchmark="vsr_random", right=0),
            item("low", ["y"], ["s"], benchmark="vsr_random", right=1),
        ]
    )
    values = {"both": (0.5, 0.4, 0.3), "lost": (0.5, 0.2, 0.3), "svo": (0.6, 0.5), "tied": (0.5, 0.5)}
    values |= {"dev0": (0.2,), "dev1": (0.4,), "true": (0.31,), "false": (0.35,), "low": (0.28,)}
    method = looked_up(choices, values)
    closeness = {("both", 0, 1): 0.9, ("lost", 0, 1): 0.5}

    def text_scores(first, second):
        names = [
            (one.split("/")[1].split(":")[0], int(one[-1]), int(two[-1]))
            for one, two in zip(first, second, strict=True)
        ]
        return np.array([closeness.get(name, 0.7) for name in names])

    rows = choice_outcomes(choices, method, text_scores)
    assert method.calls == 1
    values = rows.assign(name=rows["item_id"].str.split("/").str[1]).set_index(["name", "measure"])
    assert values["value"].to_dict() == {
        ("both", "both_right"): 1,
        ("lost", "both_right"): 0,
        ("both", "text_only"): 1,
        ("lost", "text_only"): 0,
        ("svo", "image_choice"): 1,
        ("tied", "image_choice"): 0,
        ("true", "statement"): 1,
        ("false", "statement"): 0,
        ("low", "statement"): 0,  # a threshold chosen on these very statements would call it true
    }
    assert values["tie"].to_dict()["tied", "image_choice"] and values["tie"].sum() == 1
    assert values.loc[("lost", "both_right"), "chosen"] == "sugarcrepe_pp_swap_att/lost:2"
    assert values.loc[("tied", "image_choice"), "chosen"] == "y"
    assert pd.isna(values.loc[("false", "statement"), "chosen"])
    assert "text_only" not in set(choice_outcomes(choices, method)["measure"])


def test_statements_without_a_dev_split_are_refused():
    choices = pd.DataFrame([item("0", ["x"], ["s"], benchmark="vsr_random", right=1)])
    with pytest.raises(ValueError, match="no statements of vsr_random_dev"):
        choice_outcomes(choices, looked_up(choices, {"0": (0.3,)}))
