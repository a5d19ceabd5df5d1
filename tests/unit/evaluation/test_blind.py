from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tolerance import close
from vialign.config.evaluation import EvaluationConfig
from vialign.evaluation.blind import blind_benchmarks, blind_items, blind_table, expected_value
from vialign.evaluation.choices import choice_outcomes
from vialign.evaluation.vqa import vqa_outcomes
from vialign.signal.blind import BlindClassifier
from vialign.tables.data import CHOICES, QUESTIONS
from vialign.tables.language import TEXTS


def reader(rule: Callable[[str], float]) -> BlindClassifier:
    """A classifier that scores texts by a rule of the test."""
    return BlindClassifier(SimpleNamespace(decision_function=lambda texts: [rule(text) for text in texts]))


def split_of(count: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Texts, choices of every form and questions of a split; a text is a number, and many are tied."""
    rng = np.random.default_rng(seed)

    def draw(number: int) -> list[str]:
        return [str(value) for value in rng.integers(0, 5, number)]

    texts, choices, questions = [], [], []
    for n in range(count):
        image = f"i{n // 2}"
        for name, images, options, right in (
            ("order", [image], draw(5), None),
            ("relation", [image], draw(2), None),
            ("winoground", [image, f"j{n}"], draw(2), None),
            ("both", [image], draw(3), 2),
            ("svo", [image, f"j{n}"], draw(1), None),
            ("told", [image], draw(1), n % 2),
            ("told_dev", [image], draw(1), (n + 1) % 2),
        ):
            choices.append((f"{name}/{n}", name, "test", "", images, options, right))
            texts += [(f"{name}/{n}:{j}", "test", image, "choice", text) for j, text in enumerate(options)]
        candidates = ["red", "blue", "green", "black"]
        answers = list(rng.choice(candidates[:3], 10))
        statements = draw(4)
        questions.append((f"vqa/{n}", "test", image, "what?", "relation", answers, candidates, statements))
        texts += [(f"vqa/{n}:{j}", "test", image, "answer", text) for j, text in enumerate(statements)]
        texts.append((f"c{n}", "test", image, "caption", draw(1)[0]))
        for kind in ("shuffle", "swap_roles")[: n % 3]:
            texts.append((f"c{n}!{kind}", "test", image, kind, draw(1)[0]))
    return (
        pd.DataFrame(texts, columns=list(TEXTS.columns)),
        pd.DataFrame(choices, columns=list(CHOICES.columns)),
        pd.DataFrame(questions, columns=list(QUESTIONS.columns)),
    )


def test_the_value_of_the_best_text_is_a_guess_among_the_tied():
    scores, values = np.array([3.0, 1.0, 3.0]), np.array([1.0, 0.4, 0.2])
    assert expected_value(scores, values) == pytest.approx(0.6)
    assert expected_value(np.array([3.0, 1.0, 2.0]), values) == 1.0


def test_without_ties_every_item_is_what_the_evaluation_of_methods_gives_a_score_of_the_text():
    """Oracle: the outcomes of a method whose score of an image and a text is that of the text."""
    texts, choices, questions = split_of(60)
    noise = dict(zip(texts["text_id"], np.random.default_rng(1).random(len(texts)), strict=True))
    texts = texts.assign(text=[f"{noise[name]:.12f}" for name in texts["text_id"]])
    items = blind_items(reader(float), texts, choices, questions)

    def pair_scores(images: list[str], names: list[str]) -> np.ndarray:
        return np.array([noise[name] for name in names])

    outcomes = choice_outcomes(choices, pair_scores)
    forms = {"order": "accuracy", "relation": "accuracy", "winoground": "text", "both": "both_right"}
    for benchmark, measure in {**forms, "told": "statement"}.items():
        own = outcomes[(outcomes["benchmark"] == benchmark) & (outcomes["measure"] == measure)]
        found = items[items["benchmark"] == benchmark]
        np.testing.assert_array_equal(found["value"], own["value"])
        assert found["image_id"].tolist() == own["image_id"].tolist()
    answers = vqa_outcomes(questions, pair_scores)
    np.testing.assert_allclose(items.loc[items["benchmark"] == "vqa", "value"], answers["value"])
    chance = items.groupby("benchmark")["chance"].mean()
    assert chance[[*forms, "svo", "told"]].tolist() == pytest.approx([0.2, 0.5, 0.25, 1 / 3, 0.5, 0.5])
    assert (items.loc[items["benchmark"] == "svo", "value"] == 0.5).all() and "told_dev" not in chance


def test_negatives_count_the_share_below_their_caption_and_a_tie_as_half():
    rows = [("c1", "caption", "5"), ("c1!shuffle", "shuffle", "3"), ("c1!swap_roles", "swap_roles", "5")]
    rows += [("c2", "caption", "1"), ("c2!shuffle", "shuffle", "3"), ("c3", "caption", "9")]
    texts = pd.DataFrame(
        [(name, "test", f"i{name[1]}", kind, text) for name, kind, text in rows], columns=TEXTS.columns
    )
    items = blind_items(reader(float), texts, CHOICES.empty(), QUESTIONS.empty())
    assert items["benchmark"].tolist() == ["negatives", "negatives"]
    assert dict(zip(items["image_id"], items["value"], strict=True)) == {"i1": 0.75, "i2": 0.0}


def test_a_score_that_says_nothing_is_at_chance_on_every_benchmark():
    table = blind_benchmarks(
        reader(lambda text: 0.0), {"test": split_of(40)[0]}, *split_of(40)[1:], EvaluationConfig(), 0
    )
    np.testing.assert_allclose(table["accuracy"], table["chance"])
    assert set(table["benchmark"]) == {
        f"test/{name}" for name in ("order", "relation", "winoground", "both", "svo", "told", "vqa", "negatives")
    }
    assert not table["solved"].any()
    assert blind_benchmarks(None, {"test": split_of(40)[0]}, *split_of(40)[1:], EvaluationConfig(), 0).empty


def test_a_benchmark_that_gives_itself_away_is_solved_and_others_are_not():
    texts, choices, questions = split_of(200)
    told = texts["text_id"].str.match(r"order/\d+:0")
    texts = texts.assign(text=np.where(told, "99", texts["text"]))
    table = blind_benchmarks(reader(float), {"test": texts}, choices, questions, EvaluationConfig(bootstrap=300), 0)
    table = table.set_index("benchmark")
    assert table["solved"].to_dict() == {name: name == "test/order" for name in table.index}
    assert table.loc["test/order", "accuracy"] == 1.0


@pytest.mark.parametrize(("margin", "solved"), [(0.0, True), (0.1, False)])
def test_solved_asks_the_lower_end_to_lie_above_chance_by_the_margin(margin, solved):
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"benchmark": "test/a", "image_id": np.arange(2000).astype(str), "chance": 0.5})
    items["value"] = (rng.random(2000) < 0.58).astype(float)
    row = blind_table(items, margin, 500, 0.05, 0).iloc[0]
    assert 0.5 < row["low"] < row["accuracy"] < row["high"] < 0.61
    assert bool(row["solved"]) is solved


def test_the_interval_is_that_of_images_not_of_items():
    rng = np.random.default_rng(0)
    alone = pd.DataFrame({"benchmark": "a", "image_id": np.arange(60).astype(str), "chance": 0.5})
    alone["value"] = rng.random(60).round()
    copied = pd.concat([alone] * 10)
    one, other = (blind_table(frame, 0.1, 1000, 0.05, 0).iloc[0] for frame in (alone, copied))
    assert (other["low"], other["high"]) == pytest.approx((one["low"], one["high"]), abs=close(np.float32, 2 * 60))
    assert other["items"] == 600
