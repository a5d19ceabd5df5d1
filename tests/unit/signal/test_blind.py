from collections import Counter

import numpy as np
import pandas as pd
import pytest

from vialign.signal import blind
from vialign.signal.blind import fit_blind
from vialign.tables.language import TEXTS

COLOURS, THINGS = ("red", "blue", "green", "black"), ("circle", "square", "star", "cross", "heart")


def make_texts(count: int, seed: int, telltale: bool) -> pd.DataFrame:
    """Captions with one negative each: shuffled words, or (no telltale) a caption that could as well be true."""
    rng = np.random.default_rng(seed)

    def draw() -> str:
        colours, things = rng.choice(COLOURS, 2), rng.choice(THINGS, 2)
        return f"a {colours[0]} {things[0]} above a {colours[1]} {things[1]}"

    rows = []
    for number in range(count):
        text = draw()
        wrong = " ".join(rng.permutation(text.split())) if telltale else draw()
        names = {"split": "train", "image_id": f"i{number // 2}"}
        rows.append({"text_id": f"c{number}", **names, "kind": "caption", "text": text})
        rows.append({"text_id": f"c{number}!shuffle", **names, "kind": "shuffle", "text": wrong})
    return pd.DataFrame(rows)[list(TEXTS.columns)]


def right(classifier: blind.BlindClassifier, texts: pd.DataFrame) -> float:
    """Share of captions above their negative, ties half."""
    scores = classifier.scores(texts["text"].tolist())
    return float((np.sign(scores[::2] - scores[1::2]) + 1).mean() / 2)


def test_telltale_negatives_are_found_on_new_captions_and_exchangeable_ones_are_not():
    for telltale in (True, False):
        share = right(fit_blind(make_texts(400, 0, telltale), 0), make_texts(400, 1, telltale))
        assert share > 0.95 if telltale else 0.4 < share < 0.6


def test_the_score_is_linear_in_the_counts_of_one_to_three_words_and_marks():
    classifier = fit_blind(make_texts(50, 0, True), 0)
    vectorizer, model = (step for _, step in classifier.pipeline.steps)
    weight = dict(zip(vectorizer.get_feature_names_out(), model.coef_[0], strict=True))
    text = "A red circle above a, a blue circle"
    words = ["a", "red", "circle", "above", "a", ",", "a", "blue", "circle"]
    counts = Counter(" ".join(words[at : at + n]) for n in (1, 2, 3) for at in range(len(words) - n + 1))
    expected = model.intercept_[0] + sum(number * weight.get(gram, 0.0) for gram, number in counts.items())
    assert classifier.scores([text])[0] == pytest.approx(expected)
    assert "a blue circle" in weight and "red" in weight
    assert classifier.scores([]).shape == (0,)


def test_only_captions_with_a_negative_count_and_no_negatives_give_no_classifier():
    texts = make_texts(60, 0, True)
    alone = pd.DataFrame([{**texts.iloc[0], "text_id": f"x{n}", "text": f"lonely word{n}"} for n in range(30)])
    probe = make_texts(40, 3, True)["text"].tolist()
    one, other = (fit_blind(frame, 0) for frame in (texts, pd.concat([texts, alone])))
    np.testing.assert_allclose(other.scores(probe), one.scores(probe), atol=1e-9)
    assert "lonely" not in other.pipeline[0].vocabulary_
    assert fit_blind(texts[texts["kind"] == "caption"], 0) is None


def test_it_learns_from_a_bounded_number_of_captions_drawn_by_seed(monkeypatch):
    texts = make_texts(80, 0, True)
    texts["text"] += [f" mark{name.split('!')[0]}" for name in texts["text_id"]]
    monkeypatch.setattr(blind, "_CAPTIONS", 20)

    def seen(seed: int) -> set[str]:
        return {word for word in fit_blind(texts, seed).pipeline[0].vocabulary_ if word.startswith("mark")} - {"mark"}

    one, again, other = seen(0), seen(0), seen(1)
    captions = {gram for gram in one if " " not in gram}
    assert len(captions) == 20 and one == again and one != other
