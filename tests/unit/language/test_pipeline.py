"""The trained tagger and parser: it learns, it is deterministic, it is written whole or not at all."""

import numpy as np
import pytest

from vialign.data.treebanks.penn import Sentence
from vialign.errors import UserError
from vialign.language import pipeline as module
from vialign.language.pipeline import (
    bootstrap_sums,
    evaluate_pipeline,
    load_pipeline,
    quality_row,
    save_pipeline,
    train_pipeline,
)
from vialign.tables.language import QUALITY


def test_it_learns_the_grammar_and_scrambled_gold_shows_it_can_fail(pipeline, sentences):
    held = sentences[1::2]
    quality = QUALITY.check(evaluate_pipeline(pipeline, held, "toy", seed=0)).set_index("measure")
    assert (quality["value"] > 0.97).all()
    assert (quality["low"] <= quality["value"]).all() and (quality["value"] <= quality["high"]).all()
    wrong = [Sentence(s.words, s.tags[::-1], s.heads, s.labels, s.spaces) for s in held]
    scrambled = evaluate_pipeline(pipeline, wrong, "toy", seed=0).set_index("measure")
    assert scrambled.loc["tag_accuracy", "value"] < 0.6


def test_scores_equal_counting_by_hand(pipeline, sentences):
    """One sentence with one wrong tag and one wrong head in its gold; punctuation is left out of attachment."""
    gold = sentences[1]
    tags, heads = list(gold.tags), list(gold.heads)
    tags[1] = "VB"
    heads[0] = len(heads) - 1
    changed = Sentence(gold.words, tags, heads, gold.labels, gold.spaces)
    (doc,) = pipeline.pipe([gold.text])
    assert [token.head.i for token in doc] == gold.heads and [token.tag_ for token in doc] == gold.tags
    rows = evaluate_pipeline(pipeline, [changed], "toy", seed=0).set_index("measure")["value"]
    expected = (len(tags) - 1) / len(tags)
    assert rows["tag_accuracy"] == pytest.approx(expected)
    assert rows["uas"] == pytest.approx(expected) and rows["las"] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(sentences, tmp_path):
    few = sentences[:40]

    def weights(seed):
        nlp = train_pipeline(few, epochs=1, seed=seed, width=16, depth=1)
        return nlp.get_pipe("parser").model.to_bytes(), nlp.get_pipe("tok2vec").model.to_bytes()

    assert weights(3) == weights(3)
    assert weights(3) != weights(4)


def test_a_saved_pipeline_parses_as_before_and_says_what_made_it(pipeline, sentences, tmp_path):
    save_pipeline(pipeline, tmp_path / "pipeline", {"seed": "1"})
    again = load_pipeline(tmp_path / "pipeline")
    for sentence in sentences[1:20:5]:
        assert [t.dep_ for t in again(sentence.text)] == [t.dep_ for t in pipeline(sentence.text)]
    assert again.meta["vialign"] == {"seed": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]


def test_a_killed_write_leaves_the_old_pipeline(pipeline, tmp_path, monkeypatch):
    save_pipeline(pipeline, tmp_path / "pipeline", {"seed": "old"})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(pipeline), "to_disk", killed)
    with pytest.raises(KeyboardInterrupt):
        save_pipeline(pipeline, tmp_path / "pipeline", {"seed": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]
    assert load_pipeline(tmp_path / "pipeline").meta["vialign"] == {"seed": "old"}


def test_unusable_pipelines_are_user_errors(tmp_path):
    import spacy

    with pytest.raises(UserError, match="no spaCy pipeline there"):
        load_pipeline(tmp_path / "none")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "meta.json").write_text("{}")
    with pytest.raises(UserError, match="spaCy cannot read it"):
        load_pipeline(broken)
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(UserError, match="no tagger and no parser"):
        load_pipeline(tmp_path / "blank")
    with pytest.raises(UserError, match="no training sentences"):
        train_pipeline([], epochs=1, seed=0)


def test_the_plain_variant_loses_capitals_and_the_final_stop_only():
    sentence = Sentence(
        ["A", "Dog", "runs", "."], ["DT", "NN", "VBZ", "."], [1, 2, 2, 2], ["det"] * 4, [True, True, False, False]
    )
    plain = module._plain_variant(sentence)
    assert plain.words == ["a", "dog", "runs"] and plain.heads == [1, 2, 2] and plain.spaces == [True, True, False]
    governs = Sentence(["So", "."], ["RB", "."], [1, 1], ["dep"] * 2, [False, False])
    assert module._plain_variant(governs).words == ["so", "."]


def test_bootstrap_sums_resample_whole_sentences():
    counts = np.array([[1.0, 0.0, 5.0], [2.0, 2.0, 2.0]])
    draws = bootstrap_sums(counts, seed=0, bootstrap=500)
    assert draws.shape == (500, 2)
    assert set(draws[:, 1]) == {6.0}, "three sentences are drawn each time"
    assert set(draws[:, 0]) <= {a + 5 * b for a in range(4) for b in range(4 - a)}
    assert draws[:, 0].mean() == pytest.approx(6.0, abs=0.4)


def test_the_interval_narrows_with_the_root_of_the_number_of_sentences():
    """Against the binomial's own standard error: 1.96 sqrt(p (1-p) / n) on either side."""
    for count in (100, 1600):
        hits = np.tile([1.0, 1.0, 1.0, 0.0], count // 4)
        row = quality_row("x", "y", "z", hits, np.ones(count), seed=0, bootstrap=4000)
        half = 1.96 * np.sqrt(0.75 * 0.25 / count)
        assert row["value"] == 0.75
        assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.15)
