import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import spacy
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.disentangle import TextDisentangler
from vialign.disentangle.types import Prototypes
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.signal.pairs import SplitFeatures, build_pairs
from vialign.signal.validation.text_stress import TextSide, _substituted_versions, disturbed_texts, shuffle_words

TOWER = close(torch.float32, transformer(width=128, layers=3))
"""Two ways through the demo text tower."""
MAPS = SignalCalibration(LogisticCalibration(6.0, -2.0), LogisticCalibration(6.0, -2.0))
COLOURS = ("red", "blue", "green", "yellow", "purple", "white")
SHAPES = ("star", "circle", "square", "ring", "heart", "triangle")
words = st.lists(st.sampled_from([f"w{number}" for number in range(30)]), min_size=1, max_size=12, unique=True)


@Language.component("tags_of_the_test")
def tag(doc):
    for token in doc:
        token.tag_ = "JJ" if token.lower_ in COLOURS else "NN" if token.lower_ in SHAPES else "IN"
    return doc


@dataclass(frozen=True)
class Counting(TextSide):
    """Remembers what it was asked to encode."""

    asked: list[list[str]]

    def encode(self, texts):
        self.asked.append(list(texts))
        return super().encode(texts)


@pytest.fixture(scope="module")
def side() -> Counting:
    nlp = spacy.blank("en")
    nlp.add_pipe("tags_of_the_test")
    torch.manual_seed(0)
    text = TextDisentangler(128, 4, 8, 2, confidence=0.8, trust=0.9, smoothing=0.1, lexical=128)
    return Counting(load_backbone(BackboneConfig()), nlp, text.eval().requires_grad_(False), [])


@pytest.fixture(scope="module")
def case(side):
    """Two captions an image, each with a hard negative, at images whose embedding is the mean of their captions'."""
    rng = np.random.default_rng(0)
    rows, captions = [], []
    for image in range(16):
        one, two = (
            f"{COLOURS[c]} {SHAPES[s]}" for c, s in zip(rng.permutation(6)[:2], rng.permutation(6)[:2], strict=True)
        )
        own = [f"a {one} is above a {two}", f"a {two} and a {one}"]
        captions.append(own)
        for number, text in enumerate(own):
            wrong = " ".join(reversed(text.split()))
            for suffix, kind, said in (("", "caption", text), ("!shuffle", "shuffle", wrong)):
                name = f"i{image}#{number}{suffix}"
                rows.append((name, "diagnosis", f"i{image}", kind, said))
    texts = pd.DataFrame(rows, columns=["text_id", "split", "image_id", "kind", "text"])
    pooled, phrases = side.encode(texts["text"].tolist())
    own = torch.stack([F.normalize(side.encode(said)[0].mean(dim=0), dim=0) for said in captions])
    ids = [f"i{image}" for image in range(16)]
    torch.manual_seed(1)
    prototypes = Prototypes(
        F.normalize(torch.randn(16, 3, 128), dim=-1), torch.full((16, 3), 1 / 3), None, torch.zeros(16, 3, 5)
    )
    features = SplitFeatures(ids, own, prototypes, texts["text_id"].tolist(), pooled, phrases)
    return texts, build_pairs(texts, ids, ["random", "shuffle"], 100, 0), features


@pytest.fixture(scope="module")
def stressed(case, side, small_config):
    del side.asked[:]
    return {(one.attack, one.strength): one for one in disturbed_texts(*case, side, MAPS, small_config, 0)}


def test_every_disturbance_is_there_and_every_distinct_text_is_encoded_once(stressed, case, side, small_config):
    wanted = {("typos", rate) for rate in small_config.stress_typos}
    wanted |= {("word order", share) for share in small_config.stress_word_order}
    assert set(stressed) == wanted | {("word substitution", float(count)) for count in (1, 2, 3)}
    (asked,) = side.asked
    assert len(set(asked)) == len(asked)
    for one in stressed.values():
        assert (one.scores[["image_id", "text_id", "kind"]] == case[1]).all(axis=None)
    assert {one.unit for one in stressed.values()} == {
        "percent of words misspelt",
        "percent of words moved",
        "words replaced",
    }


def test_only_wrong_captions_are_attacked_and_the_more_words_the_more_they_look_right(stressed, case, side):
    texts, pairs, features = case
    said = texts.set_index("text_id")["text"].loc[pairs["text_id"]]
    clean = (side.encode(said.tolist())[0] * features.image_pooled[[int(i[1:]) for i in pairs["image_id"]]]).sum(dim=1)
    aligned = (pairs["kind"] == "aligned").to_numpy()
    before = clean.numpy()
    gaps = [clean.numpy()[aligned].mean() - before[~aligned].mean()]
    for count in (1.0, 2.0, 3.0):
        scores = stressed["word substitution", count].scores
        now = scores["s_global"].to_numpy()
        np.testing.assert_allclose(now[aligned], clean.numpy()[aligned], atol=TOWER)
        assert (now[~aligned] >= before[~aligned] - TOWER).all() and (now[~aligned] > before[~aligned] + 1e-3).any()
        before = now
        gaps.append(now[aligned].mean() - now[~aligned].mean())
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]


def test_no_word_of_the_image_comes_in(case, side, small_config):
    texts, pairs, features = case
    said = texts.set_index("text_id")["text"].loc[pairs["text_id"]].tolist()
    versions = _substituted_versions(texts, pairs, said, features, side, small_config)
    own = (
        texts[texts["kind"] == "caption"].groupby("image_id")["text"].apply(lambda found: set(" ".join(found).split()))
    )
    assert list(versions) == [("word substitution", count) for count in (1.0, 2.0, 3.0)]
    changes = []
    for (_, count), version in versions.items():
        changes.append(0)
        for image_id, kind, old, new in zip(pairs["image_id"], pairs["kind"], said, version, strict=True):
            put_in = [b for a, b in zip(old.split(), new.split(), strict=True) if a != b and b not in ("a", "an")]
            assert not put_in if kind == "aligned" else len(put_in) <= count
            assert not own[image_id] & set(put_in) and set(put_in) <= {*COLOURS, *SHAPES}
            changes[-1] += len(put_in)
    assert changes[0] > 0.5 * (pairs["kind"] != "aligned").sum() and changes[0] < changes[1]


def test_unchanged_texts_keep_their_score_and_noise_is_the_same_wherever_a_text_stands(stressed, case):
    _, pairs, features = case
    few = stressed["typos", 5.0].scores
    again = few.merge(few, on="text_id")
    assert (again["image_id_x"] != again["image_id_y"]).any()
    pooled = dict(zip(features.text_ids, features.text_pooled, strict=True))
    image = dict(zip(features.image_ids, features.image_pooled, strict=True))
    clean = np.array([float(image[i] @ pooled[t]) for i, t in zip(pairs["image_id"], pairs["text_id"], strict=True)])
    same = np.isclose(few["s_global"], clean, atol=TOWER)
    more = np.isclose(stressed["typos", 20.0].scores["s_global"], clean, atol=TOWER)
    assert 0.4 < same.mean() < 1 and more.mean() < same.mean() and (same | ~more).all()


def test_noise_repeats_by_seed(case, side, small_config):
    only = small_config.model_copy(update={"stress_typos": (50.0,), "stress_word_order": (), "stress_substitutions": 1})
    one, again, other = (
        next(iter(disturbed_texts(*case, side, MAPS, only, seed))).scores["s_global"] for seed in (0, 0, 1)
    )
    assert one.equals(again) and not one.equals(other)


@given(words, st.floats(0.01, 1), st.integers(0, 99))
def test_a_share_of_the_words_moves_and_no_word_is_lost(text, share, seed):
    moved = shuffle_words(" ".join(text), share, np.random.default_rng(seed)).split()
    assert sorted(moved) == sorted(text)
    expected = max(2, math.ceil(share * len(text))) if len(text) > 1 else 0
    assert sum(a != b for a, b in zip(text, moved, strict=True)) == expected


@given(words, st.integers(0, 99))
def test_a_higher_share_moves_the_same_words_and_more(text, seed):
    before: set[str] = set()
    for share in (0.0, 0.3, 0.6, 1.0):
        shuffled = shuffle_words(" ".join(text), share, np.random.default_rng(seed)).split()
        moved = {a for a, b in zip(text, shuffled, strict=True) if a != b}
        assert before <= moved and (share > 0 or not moved)
        before = moved


def test_punctuation_that_stands_alone_stays_in_place():
    assert shuffle_words("one two .", 1.0, np.random.default_rng(0)) == "two one ."
    assert shuffle_words("one .", 1.0, np.random.default_rng(0)) == "one ."
