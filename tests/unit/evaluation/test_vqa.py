from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.evaluation.vqa import normalise_answer, soft_accuracy, vqa_outcomes


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Two", "2"),
        ("a Red  circle.", "red circle"),
        ("The man's hat", "man's hat"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),
        ("im", "im"),
        ("somebody'd", "somebodyd"),
        ("yall'd've", "y'all'd've"),
        ("2:50 pm", "2:50 pm"),
        ("100,978", "100978"),
        ("3.5", "3.5"),
        ("yes.", "yes"),
        ("t-shirt", "t shirt"),
        ("red, green", "red green"),
        ("on/under", "on under"),
        ("1,000-2,000", "10002000"),
        ("2,000/year", "2000year"),
        ("x-y - z", "xy z"),
        ("left-right, up", "left right up"),
        ("a.m.", "am"),
        ("." * 40 + "x", "." * 8 + "x"),
        ("one\ttwo\nthree", "1 2 3"),
        ("none", "0"),
        ("what?!", "what"),
        ("its", "its"),
        ("ill", "ill"),
    ],
)
def test_normalisation_follows_the_published_description(answer, expected):
    assert normalise_answer(answer) == expected


@given(st.text(alphabet="abt dont've.,'-5 ", max_size=20))
def test_normalising_twice_changes_nothing_where_the_answer_has_no_loose_digits(answer):
    once = normalise_answer(answer)
    assert normalise_answer(once) == once or any(character.isdigit() or character == "'" for character in answer)


@given(st.integers(0, 10))
def test_soft_accuracy_is_the_mean_over_subsets_of_nine(matches):
    humans = ["red"] * matches + [f"other {n}" for n in range(10 - matches)]
    expected = np.mean([min(1, subset.count("red") / 3) for subset in combinations(humans, 9)])
    assert soft_accuracy("Red", humans) == pytest.approx(expected)


def test_known_values_of_soft_accuracy():
    values = [soft_accuracy("x", ["x"] * n + ["y"] * (10 - n)) for n in range(5)]
    assert values == pytest.approx([0, 0.3, 0.6, 0.9, 1.0])


def question(number, candidates, answers, kind="relation"):
    return {
        "question_id": f"vqa/{number}",
        "split": "test",
        "image_id": f"image{number}",
        "question": "what is above the circle?",
        "kind": kind,
        "answers": answers,
        "candidates": candidates,
        "statements": [f"{candidate} is above the circle" for candidate in candidates],
    }


def test_the_best_statement_answers_and_a_better_candidate_makes_it_a_failure():
    questions = pd.DataFrame(
        [
            question(0, ["square", "star"], ["square"] * 10),
            question(1, ["red", "blue", "green"], ["blue"] * 2 + ["red"] * 8, kind="attribute"),
        ]
    )
    scores = dict(zip(["vqa/0:0", "vqa/0:1", "vqa/1:0", "vqa/1:1", "vqa/1:2"], [0.9, 0.1, 0.2, 0.7, 0.3], strict=True))
    rows = vqa_outcomes(questions, lambda images, texts: np.array([scores[text] for text in texts]))
    assert rows["value"].tolist() == pytest.approx([1.0, 0.6])
    assert rows["chosen"].isna().tolist() == [True, False]
    assert rows.loc[1, "chosen"] == "vqa/1:1"
    assert rows["tag"].tolist() == ["relation", "attribute"]
    assert rows["image_id"].tolist() == ["image0", "image1"]


def test_among_tied_candidates_the_worst_counts():
    questions = pd.DataFrame([question(0, ["square", "star", "cube"], ["square"] * 10)])
    rows = vqa_outcomes(questions, lambda images, texts: np.array([0.5, 0.5, 0.1]))
    assert (rows.loc[0, "value"], rows.loc[0, "tie"], rows.loc[0, "chosen"]) == (0, True, "vqa/0:1")


def test_a_question_without_candidates_is_refused():
    with pytest.raises(ValueError, match="needs candidates"):
        vqa_outcomes(pd.DataFrame([question(0, [], ["x"] * 10)]), lambda images, texts: np.empty(0))
