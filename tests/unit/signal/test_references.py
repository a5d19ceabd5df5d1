from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.errors import UserError
from vialign.features import read_images, read_texts
from vialign.features.store import Rows, StoreWriter
from vialign.signal import references
from vialign.signal.blind import fit_blind
from vialign.signal.references import (
    encode_words,
    nouns_of,
    score_references,
    token_scores,
    token_similarity,
    with_references,
    word_scores,
    word_similarity,
)
from vialign.tables.signal import REFERENCES

DIMENSION, PATCHES, WIDTH = 5, 4, 3
IMAGES, TEXTS = 168, 265
NOUNS = ("dog", "cat", "ball", "park", "man", "hat", "sky")

sizes = st.tuples(*[st.integers(1, 4) for _ in range(4)])
seeds = st.integers(0, 1000)


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def cosine(one, other):
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@given(sizes, seeds)
def test_token_similarity_equals_the_loop(size, seed):
    batch, patch, token, dim = size
    rng = np.random.default_rng(seed)
    patches, states = rng.standard_normal((batch, patch, dim)), rng.standard_normal((batch, token, dim))
    mask = rng.random((batch, token)) < 0.6
    mask[:, 0] = True
    found = token_similarity(*(torch.from_numpy(values) for values in (patches, states, mask)))
    for row in range(batch):
        best = [max(cosine(state, patch) for patch in patches[row]) for state in states[row][mask[row]]]
        assert float(found[row]) == pytest.approx(np.mean(best), abs=close(torch.float64, 64))


@given(sizes, seeds)
def test_padding_and_length_change_no_token_similarity(size, seed):
    batch, patch, token, dim = size
    rng = torch.Generator().manual_seed(seed)
    patches, states, more = (torch.randn(batch, n, dim, generator=rng).double() for n in (patch, token, 3))
    mask = torch.ones(batch, token, dtype=torch.bool)
    alone = token_similarity(patches, states, mask)
    padded = token_similarity(
        7 * patches, torch.cat([0.1 * states, more], dim=1), torch.cat([mask, mask.new_zeros(batch, 3)], dim=1)
    )
    torch.testing.assert_close(padded, alone)


def test_tokens_that_are_patches_score_one_and_only_with_their_own_image():
    rng = torch.Generator().manual_seed(0)
    patches = torch.randn(8, 6, 32, generator=rng)
    states, mask = patches[:, :4], torch.ones(8, 4, dtype=torch.bool)
    torch.testing.assert_close(token_similarity(patches, states, mask), torch.ones(8))
    assert token_similarity(patches.roll(1, 0), states, mask).max() < 0.7


@given(st.integers(1, 4), st.integers(0, 3), seeds)
def test_word_similarity_equals_the_loop_and_without_words_is_the_cosine(batch, count, seed):
    rng = np.random.default_rng(seed)
    image, text = (unit(rng.standard_normal((batch, DIMENSION))) for _ in range(2))
    words, mask = unit(rng.standard_normal((batch, count, DIMENSION))), rng.random((batch, count)) < 0.5
    found = word_similarity(*(torch.from_numpy(values) for values in (image, text, words, mask)))
    for row in range(batch):
        parts = [cosine(image[row], part) for part in [text[row], *words[row][mask[row]]]]
        assert float(found[row]) == pytest.approx(np.mean(parts), abs=close(torch.float64, 64))


def write_stores(folder):
    """Random stores of more texts than a block, with the TEXTS and UNITS of their texts."""
    rng = np.random.default_rng(0)
    facts = {"dimension": str(DIMENSION), "grid": "2,2", "readout": "final", "seed": "0"}
    names = [f"i{row}" for row in range(IMAGES)]
    writer = StoreWriter(folder / "images", {**facts, "kind": "images"})
    layout = {"pooled": (np.float32, (DIMENSION,)), "patches": (np.float16, (PATCHES, DIMENSION))}
    with writer.shard(names, layout) as file:
        pooled = unit(rng.standard_normal((IMAGES, DIMENSION))).astype(np.float32)
        file.append(IMAGES, pooled=pooled, patches=rng.standard_normal((IMAGES, PATCHES, DIMENSION)).astype(np.float16))
    writer.close()
    names = [f"t{row}" for row in range(TEXTS)]
    longest, state = 6, DIMENSION + WIDTH
    length = rng.integers(3, longest + 1, TEXTS)
    present = np.arange(longest) < length[:, None]
    layout = {
        "pooled": (np.float32, (DIMENSION,)),
        "length": (np.int32, ()),
        "ids": (np.int32, (longest,)),
        "states": (np.float16, (longest, state)),
        "mask": (np.bool_, (longest,)),
        "offsets": (np.int32, (longest, 2)),
    }
    writer = StoreWriter(folder / "texts", {**facts, "kind": "texts"})
    with writer.shard(names, layout) as file:
        file.append(
            TEXTS,
            pooled=unit(rng.standard_normal((TEXTS, DIMENSION))).astype(np.float32),
            length=length.astype(np.int32),
            ids=np.zeros((TEXTS, longest), np.int32),
            states=(rng.standard_normal((TEXTS, longest, state)) * present[..., None]).astype(np.float16),
            mask=present & (np.arange(longest) > 0) & (np.arange(longest) < length[:, None] - 1),
            offsets=np.zeros((TEXTS, longest, 2), np.int32),
        )
    writer.close()
    sentences, units = [], []
    for name in names:
        chosen = rng.choice(NOUNS, int(rng.integers(0, 4)), replace=True)
        text = " ".join(["seen", *(f"red {noun}" for noun in chosen)])
        sentences.append((name, "diagnosis", "i0", "caption", text))
        place = 5
        for number, noun in enumerate(chosen):
            ends = (place + 4, place + 4 + len(noun))
            units.append((name, 2 * number, "entity", place, ends[1], *ends, -1, -1))
            units.append((name, 2 * number + 1, "attribute", place, place + 3, place, place + 3, 2 * number, -1))
            place = ends[1] + 1
    columns = "text_id unit kind start end head_start head_end subject object"
    return (
        read_images(folder / "images"),
        read_texts(folder / "texts"),
        pd.DataFrame(sentences, columns=["text_id", "split", "image_id", "kind", "text"]),
        pd.DataFrame(units, columns=columns.split()),
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    both = [(f"i{i}", f"t{t}") for i, t in product(range(IMAGES), range(TEXTS))]
    drawn = rng.choice(len(both), 60, replace=False)
    return pd.DataFrame([both[row] for row in drawn], columns=["image_id", "text_id"]).assign(kind="random")


def encode(words):
    """A vector of its own for each word, whatever else is encoded with it."""
    draws = [np.random.default_rng(sum(word.encode())).standard_normal(DIMENSION) for word in words]
    return torch.from_numpy(unit(np.stack(draws))).float()


@pytest.mark.parametrize("elements", [1 << 24, 90, 1])
def test_token_scores_equal_the_loop_whatever_the_blocks(stores, pairs, monkeypatch, elements):
    images, texts, _, _ = stores
    monkeypatch.setattr(references, "_ELEMENTS", elements)
    found = token_scores(pairs, images, texts)
    patches, (states, mask, _) = images.patches(0, IMAGES).double().numpy(), texts.block(0, TEXTS)
    for row, score in zip(pairs.itertuples(), found, strict=True):
        image, text = int(row.image_id[1:]), int(row.text_id[1:])
        tokens = states[text].double().numpy()[mask[text].numpy()][:, :DIMENSION]
        best = [max(cosine(token, patch) for patch in patches[image]) for token in tokens]
        assert score == pytest.approx(np.mean(best), abs=close(torch.float32, 2 * DIMENSION))


def test_only_the_images_of_the_pairs_are_read(stores, pairs, monkeypatch):
    images, texts, _, _ = stores
    read = []
    whole = Rows.__getitem__
    monkeypatch.setattr(
        Rows, "__getitem__", lambda self, index: read.append((self.parts[0].ndim, index)) or whole(self, index)
    )
    late = pairs[pairs["image_id"].str[1:].astype(int) >= IMAGES // 2]
    assert len(late)
    token_scores(late, images, texts)
    (known,) = (index for axes, index in read if axes == 3 and isinstance(index, torch.Tensor))
    assert sorted(f"i{row}" for row in known.tolist()) == sorted(late["image_id"].unique())


@pytest.mark.parametrize("elements", [1 << 24, 1])
def test_word_scores_equal_the_loop_and_encode_each_noun_once(stores, pairs, monkeypatch, elements):
    images, texts, sentences, units = stores
    monkeypatch.setattr(references, "_ELEMENTS", elements)
    asked = []
    found = word_scores(pairs, images, texts, sentences, units, lambda words: asked.extend(words) or encode(words))
    assert len(asked) == len(set(asked)) and set(asked) <= set(NOUNS)
    text_of = dict(zip(sentences["text_id"], sentences["text"], strict=True))
    counts = set()
    for row, score in zip(pairs.itertuples(), found, strict=True):
        image = images.pooled[int(row.image_id[1:])].numpy()
        nouns = [word for word in text_of[row.text_id].split() if word in NOUNS]
        counts.add(len(nouns))
        parts = [texts.pooled[int(row.text_id[1:])].numpy(), *(encode([noun])[0].numpy() for noun in nouns)]
        assert score == pytest.approx(
            np.mean([cosine(image, part) for part in parts]), abs=close(torch.float32, 2 * DIMENSION)
        )
    assert {0, 1, 2} <= counts


def test_texts_without_any_noun_have_the_cosine_of_the_caption(stores, pairs):
    images, texts, sentences, units = stores
    none = word_scores(pairs, images, texts, sentences, units[:0], encode)
    rows = [(int(image[1:]), int(text[1:])) for image, text in zip(pairs["image_id"], pairs["text_id"], strict=True)]
    np.testing.assert_allclose(
        none, [float(images.pooled[i] @ texts.pooled[t]) for i, t in rows], atol=close(torch.float32, DIMENSION)
    )


def test_nouns_are_the_heads_of_entities(stores):
    _, _, sentences, units = stores
    found = nouns_of(sentences, units).groupby("text_id")["noun"].agg(list)
    for name, text in zip(sentences["text_id"], sentences["text"], strict=True):
        assert found.get(name, []) == [word for word in text.split() if word in NOUNS]


def test_words_are_encoded_as_texts_of_their_own():
    backbone = load_backbone(BackboneConfig(checkpoint=None), seed=1)
    words = ["circle", "red square", "star", "a"]
    together = encode_words(backbone, words, batch=3)
    for word, row in zip(words, together, strict=True):
        torch.testing.assert_close(
            row,
            backbone.encode_text(backbone.tokenize([word]).ids)[0],
            atol=close(torch.float32, transformer(128, 3)),
            rtol=0,
        )
    assert not together.requires_grad


def test_the_table_has_every_signal_and_blind_only_with_a_classifier(stores, pairs):
    images, texts, sentences, units = stores
    arguments = (pairs, images, texts, sentences, units, encode)
    without = score_references(*arguments)
    assert without["blind"].isna().all()
    np.testing.assert_array_equal(without["s_token"], token_scores(pairs, images, texts))
    np.testing.assert_array_equal(without["s_words"], word_scores(*arguments))
    wrong = sentences.assign(text_id=sentences["text_id"] + "!shuffle", kind="shuffle", text="red " + sentences["text"])
    blind = fit_blind(pd.concat([sentences, wrong]), 0)
    scored = score_references(*arguments, blind)
    text_of = sentences.set_index("text_id")["text"]
    assert scored["blind"].tolist() == [blind.scores([text_of[name]])[0] for name in pairs["text_id"]]
    reversed_pairs = score_references(pairs[::-1], *arguments[1:], blind)
    pd.testing.assert_frame_equal(reversed_pairs[::-1].reset_index(drop=True), scored)


def test_references_stand_beside_their_pairs_and_missing_ones_are_named(stores, pairs):
    images, texts, sentences, units = stores
    table = score_references(pairs, images, texts, sentences, units, encode)
    scores = pairs.assign(s_global=np.arange(len(pairs)) / 100)
    joined = with_references(scores, table.sample(frac=1, random_state=0))
    assert list(joined.columns) == [*scores.columns, "s_token", "s_words"]
    pd.testing.assert_frame_equal(joined[scores.columns.tolist()], scores)
    np.testing.assert_array_equal(joined["s_token"], table["s_token"])
    with pytest.raises(UserError, match=f"no row for image '{pairs['image_id'].iloc[3]}'"):
        with_references(scores, table.drop(index=3))


def test_a_pair_without_features_is_named(stores, pairs):
    images, texts, sentences, units = stores
    lost = pairs.assign(text_id="nowhere")
    with pytest.raises(UserError, match="text 'nowhere' has no features"):
        score_references(lost, images, texts, sentences, units, encode)
    assert REFERENCES.check(score_references(pairs[:0], images, texts, sentences, units, encode)).empty
