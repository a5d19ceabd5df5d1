import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vialign.data.benchmarks.aro_order import (
    KINDS,
    WORDS,
    build_order_file,
    order_choices,
    perturbations,
    plain_words,
    read_order_file,
)
from vialign.errors import UserError
from vialign.tables.data import CHOICES

TAGS = {"dog": "NN", "cat": "NN", "mat": "NN", "man": "NN", "red": "JJ", "small": "JJ", "old": "JJ", ".": "."}


def tags(texts):
    """A tagger that knows the words of these tests."""
    split = [text.replace(".", " .").split() for text in texts]
    return [[(word, TAGS.get(word.lower(), "IN")) for word in words] for words in split]


def captions(*texts):
    rows = [(f"i{n}.jpg#0", f"i{n}.jpg", text) for n, text in enumerate(texts)]
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "text"])


SENTENCES = captions(
    "A small dog chases the old cat over a red mat.",
    "The man sits with a dog and a cat under the small red roof",
    "Dog.",
    "Two words",
)


@pytest.fixture
def path(tmp_path) -> Path:
    file = tmp_path / "aro_coco_order.jsonl"
    build_order_file(SENTENCES, file, 3, "aro_coco_order", tags)
    return file


def test_the_file_holds_every_caption_that_can_be_shuffled_and_counts_the_others(path):
    order = read_order_file(path)
    assert (order.name, order.seed) == ("aro_coco_order", 3)
    assert order.rows["caption_id"].tolist() == ["i0.jpg#0", "i1.jpg#0", "i3.jpg#0"]
    assert order.rows.loc[0, "true_caption"] == "a small dog chases the old cat over a red mat"
    assert [len(texts) for texts in order.rows["perturbations"]] == [4, 4, 1]
    assert order.left_out == {"captions": 1, "nouns_adjectives": 1, "others": 0, "within_trigrams": 1, "trigrams": 1}


def test_the_items_ask_for_the_true_caption_among_shuffles_of_its_words(path):
    choices = order_choices(read_order_file(path), "test")
    CHOICES.check(choices)
    assert choices.loc[0, "item_id"] == "aro_coco_order/test/i0.jpg#0"
    assert choices.loc[0, ["benchmark", "split", "tag"]].to_list() == ["aro_coco_order", "test", "order"]
    assert choices.loc[0, "images"] == ["i0.jpg"]
    for texts in choices["texts"]:
        assert len(set(texts)) == len(texts) >= 2
        assert {tuple(sorted(text.split())) for text in texts} == {tuple(sorted(texts[0].split()))}


def test_a_caption_keeps_its_draw_whatever_else_is_in_the_file(path, tmp_path):
    alone = tmp_path / "alone.jsonl"
    build_order_file(SENTENCES.iloc[[1]], alone, 3, "aro_coco_order", tags)
    rows = read_order_file(path).rows.set_index("caption_id")["perturbations"]
    assert read_order_file(alone).rows.loc[0, "perturbations"] == rows["i1.jpg#0"]
    reordered = tmp_path / "reordered.jsonl"
    build_order_file(SENTENCES.iloc[::-1], reordered, 3, "aro_coco_order", tags)
    assert reordered.read_bytes() == path.read_bytes()
    build_order_file(SENTENCES, reordered, 4, "aro_coco_order", tags)
    assert reordered.read_bytes() != path.read_bytes()


def test_each_kind_moves_the_words_that_it_names():
    [words] = tags(["a small dog chases the old cat over one red mat"])
    plain = [word for word, _ in words]
    threes = [tuple(plain[start : start + 3]) for start in range(0, 11, 3)]
    for seed in range(20):
        found = {kind: text.split() for kind, text in perturbations(words, np.random.default_rng(seed)).items()}
        moved = {kind: {words[n][1] for n, word in enumerate(text) if word != plain[n]} for kind, text in found.items()}
        assert moved["nouns_adjectives"] <= {"NN", "JJ"}
        assert moved["others"] == {"IN"}
        places = {tag: [n for n, (_, other) in enumerate(words) if other == tag] for tag in ("NN", "JJ")}
        for tag, where in places.items():
            changed = [found["nouns_adjectives"][n] for n in where]
            assert sorted(changed) == sorted(plain[n] for n in where), tag
        inside = [tuple(found["within_trigrams"][start : start + 3]) for start in range(0, 11, 3)]
        assert [sorted(three) for three in inside] == [sorted(three) for three in threes]
        text = " ".join(found["trigrams"])
        assert all(" ".join(three) in text for three in threes)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "dog", "cat", "red", "the"]), st.sampled_from(["NN", "JJ", "DT"])), max_size=40
    ),
    st.integers(0, 2**32),
)
def test_a_wrong_text_has_the_words_of_the_true_one_in_another_order(words, seed):
    true = " ".join(word for word, _ in words)
    found = perturbations(words, np.random.default_rng(seed))
    assert tuple(found) == KINDS
    texts = [text for text in found.values() if text is not None]
    assert len({true, *texts}) == len(texts) + 1
    assert all(Counter(text.split()) == Counter(true.split()) for text in texts)
    assert found == perturbations(words, np.random.default_rng(seed))


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["NN", "."])), max_size=60))
def test_plain_words_are_never_empty_nor_too_many(words):
    plain = plain_words(words)
    assert len(plain) <= WORDS
    assert all(word and word == " ".join(word.split()) and not set('.!"()*#:;~') & set(word) for word, _ in plain)


def test_plain_words_drop_the_marks_and_keep_the_rest():
    words = [("The", "DT"), ("T-shirt", "NN"), ("is", "VBZ"), (",", ","), ("(RED)", "JJ"), (".", "."), ("<b>", "NN")]
    assert [word for word, _ in plain_words(words)] == ["the", "t-shirt", "is", ",", "red", "<b>"]
    assert len(plain_words([("word", "NN")] * 2000)) == WORDS


def test_a_word_of_ten_thousand_characters_is_kept(tmp_path):
    long = "n" * 10000
    build_order_file(captions(f"a {long} <b>dog</b>"), tmp_path / "o.jsonl", 0, "aro_flickr_order", tags)
    texts = order_choices(read_order_file(tmp_path / "o.jsonl"), "test").loc[0, "texts"]
    assert all(long in text and "<b>dog</b>" in text for text in texts)


@given(position=st.integers(0, 10**9), byte=st.sampled_from(list(b'a}"\n9\xff')))
def test_a_file_that_is_no_longer_what_was_written_is_refused(tmp_path_factory, position, byte):
    file = tmp_path_factory.mktemp("order") / "aro_coco_order.jsonl"
    build_order_file(SENTENCES, file, 3, "aro_coco_order", tags)
    content = bytearray(file.read_bytes())
    written = read_order_file(file)
    changed = content[position % len(content)] != byte
    content[position % len(content)] = byte
    file.write_bytes(bytes(content))
    if not changed:
        assert read_order_file(file).rows.equals(written.rows)
        return
    with pytest.raises(UserError, match=r"aro_coco_order\.jsonl: .*; restore it, or make it again") as caught:
        read_order_file(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_is_refused(path):
    content = path.read_text()
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_text(content[:length])
        with pytest.raises(UserError, match="restore it, or make it again"):
            read_order_file(path)
    path.write_text(content)
    assert len(read_order_file(path).rows) == 3


def test_a_file_of_another_version_is_refused_by_that(path):
    head, body = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(head), "version": 2}) + "\n" + body)
    with pytest.raises(UserError, match="has version 2, this program knows 1; restore it, or make it again"):
        read_order_file(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jsonl: no such file"):
        read_order_file(tmp_path / "gone.jsonl")


def test_a_tagger_that_loses_a_caption_is_a_bug_that_shows(tmp_path):
    with pytest.raises(ValueError):
        build_order_file(SENTENCES, tmp_path / "o.jsonl", 0, "aro_coco_order", lambda texts: tags(texts)[1:])
    assert not (tmp_path / "o.jsonl").exists()
