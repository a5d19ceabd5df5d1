"""Word grounding: the ridge estimate, what it reads, and that it learns only what the words say of the images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.nn.functional import normalize

from planted import CALIBRATION, Vocabulary, planted_world
from tolerance import close
from vialign.catalogue import MODULES
from vialign.config.methods import CurriculumConfig, TrainingConfig
from vialign.config.signal import SignalConfig
from vialign.methods import ground
from vialign.methods.checkpoint import load_checkpoint, save_checkpoint
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.ground import WordGrounding, word_summary
from vialign.training.loop import train
from vialign.training.monitor import check

DIMENSION, WIDTH = 16, 24
RECIPE = TrainingConfig(batch=32, steps=6, early_steps=3, checks=1)


def build(share, modules=()):
    settings = CurriculumConfig(grounding={"share": share})
    return CurriculumMethod(modules, DIMENSION, 30.0, CALIBRATION, settings, SignalConfig(), 1.0, 0, word_width=WIDTH)


def worlds(*, told=True):
    """Three splits whose images have a side that the tower's captions leave out and that only their words name."""
    vocabulary = Vocabulary(DIMENSION)
    rng = torch.Generator().manual_seed(0)
    reading, own = torch.randn(8, WIDTH, generator=rng), torch.randn(8, DIMENSION, generator=rng)
    found = []
    for seed, images in ((1, 300), (2, 120), (3, 120)):
        data = planted_world(vocabulary, images, seed)
        private = torch.randint(8, (images,), generator=rng)
        pooled = normalize(data.image_pooled + 0.8 * normalize(own, dim=-1)[private], dim=-1)
        named = private[data.image_of_text] if told else torch.randint(8, (len(data.texts),), generator=rng)
        words = reading[named] + 0.3 * torch.randn(len(data.texts), WIDTH, generator=rng)
        found.append(replace(data, image_pooled=pooled, words=words))
    return found


def recall(method, data):
    return check(method, data, 0)[0]["recall"]


@pytest.mark.parametrize("rows", [7, 4096])
def test_the_fit_is_the_ridge_estimate_of_scikit_learn(monkeypatch, rows):
    monkeypatch.setattr(ground, "_ROWS", rows)
    rng = np.random.default_rng(0)
    words, images = rng.normal(2, 3, (90, WIDTH)).astype("f4"), rng.normal(size=(30, DIMENSION)).astype("f4")
    captions, owner = np.arange(0, 90, 2), np.arange(0, 90, 2) // 3
    grounding = WordGrounding(DIMENSION, WIDTH, 0.5, ridge=0.2)
    grounding.fit(*(torch.from_numpy(part) for part in (words, images, captions, owner)))
    chosen = words[captions].astype("f8")
    standardised = (chosen - chosen.mean(0)) / chosen.std(0)
    expected = Ridge(alpha=0.2 * len(captions)).fit(standardised, images[owner].astype("f8"))
    np.testing.assert_allclose(
        grounding.weight.numpy(), expected.coef_.T, atol=close(np.float32, 1), rtol=close(np.float32, 1)
    )
    text = normalize(torch.randn(90, DIMENSION), dim=-1)
    seen = (words.astype("f8") - chosen.mean(0)) / chosen.std(0) @ expected.coef_.T
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    by_hand = text.numpy() + 0.5 * seen
    by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
    np.testing.assert_allclose(
        grounding(text, torch.from_numpy(words)).numpy(), by_hand, atol=close(np.float32, WIDTH + 2 * DIMENSION)
    )


def test_blocks_change_nothing_and_a_constant_number_is_harmless(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    words, images = torch.randn(50, WIDTH, generator=rng), torch.randn(50, DIMENSION, generator=rng)
    words[:, 3] = 7.0
    whole, blocks = (WordGrounding(DIMENSION, WIDTH, 1.0, 0.1) for _ in range(2))
    whole.fit(words, images, torch.arange(50), torch.arange(50))
    monkeypatch.setattr(ground, "_ROWS", 7)
    blocks.fit(words, images, torch.arange(50), torch.arange(50))
    torch.testing.assert_close(whole.weight, blocks.weight)
    assert bool(whole.weight.isfinite().all()) and not whole.weight[3].any()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 10))
def test_a_summary_is_mean_and_largest_over_the_texts_own_tokens(lengths, seed):
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(len(lengths), 5, 7)).astype("f4")
    mask = np.arange(5) < np.array(lengths)[:, None]
    found = word_summary(torch.from_numpy(states), torch.from_numpy(mask), 4).numpy()
    for row, length in enumerate(lengths):
        own = states[row, :length]
        expected = np.concatenate([own.mean(0), own[:, 4:].max(0)]) if length else np.zeros(10)
        np.testing.assert_allclose(found[row], expected, atol=close(np.float32, 5, scale=4))


def test_it_finds_what_the_tower_leaves_out_and_only_where_words_say_it():
    gains = {}
    for told in (True, False):
        training, _, test = worlds(told=told)
        plain, grounded = build(0.0), build(0.6)
        grounded.begin(training)
        gains[told] = recall(grounded, test) - recall(plain, test)
    assert gains[True] > 0.1 > 0.02 > gains[False], gains


def test_it_is_fitted_on_captions_and_not_on_their_negatives():
    """What a wrong caption says of an image is not so: its words may change nothing of the fit."""
    training, _, _ = worlds()
    wrong = training.negatives[training.captions]
    assert wrong.numel() and bool((wrong >= 0).any())
    fitted, expected = build(0.6), WordGrounding(DIMENSION, WIDTH, 0.6, CurriculumConfig().grounding.ridge)
    owner = training.image_of_text[training.captions]
    expected.fit(training.words, training.image_pooled, training.captions, owner)
    words = training.words.clone()
    words[wrong[wrong >= 0]] = 100 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    fitted.begin(replace(training, words=words))
    for name in ("mean", "deviation", "weight"):
        assert torch.equal(getattr(fitted.grounding, name), getattr(expected, name)), name
    everything, texts = build(0.6), torch.arange(len(training.texts))
    everything.grounding.fit(training.words, training.image_pooled, texts, training.image_of_text)
    assert (everything.grounding.weight - expected.weight).abs().max() > 0.01  # the control: it would be seen


@pytest.mark.parametrize("modules", [(), MODULES], ids=["none", "all"])
def test_without_a_share_there_is_nothing_and_with_one_all_scores_agree(modules):
    training, _, test = worlds()
    plain = build(0.0, modules)
    assert plain.grounding is None and plain.needs == frozenset()
    assert not [name for name in plain.state() if "grounding" in name]
    method = build(0.6, modules)
    assert method.needs == {"words"}
    fitted = {f"grounding.{name}" for name in ("mean", "deviation", "weight")}
    assert method.state().keys() - plain.state().keys() == fitted
    assert method.trainable().keys() == plain.trainable().keys()
    method.begin(training)
    index = torch.arange(20)
    images, texts = method.images(test, index), method.texts(test, index)
    scores = method.scores(images, texts)
    torch.testing.assert_close(
        method.pair_scores(images, texts), scores.diagonal(), atol=close(torch.float32, 16 * DIMENSION), rtol=0
    )
    scores.diagonal().sum().backward()
    assert method.head.text.up.grad.abs().sum() > 0


def test_a_training_in_two_stretches_keeps_the_fit_and_equals_one(tmp_path):
    training, validation, _ = worlds()
    whole = train(build(0.6, MODULES), training, validation, RECIPE, peak_rate=1e-3, seed=0, to_step=6)
    early = train(build(0.6, MODULES), training, validation, RECIPE, peak_rate=1e-3, seed=0, to_step=3)
    save_checkpoint(early.checkpoint, tmp_path / "early.safetensors", {})
    start = load_checkpoint(tmp_path / "early.safetensors")
    late = train(build(0.6, MODULES), training, validation, RECIPE, peak_rate=1e-3, seed=0, to_step=6, start=start)
    fitted = build(0.6)
    fitted.begin(training)
    assert torch.equal(late.checkpoint.weights["grounding.weight"], fitted.state()["grounding.weight"])
    assert whole.checkpoint.weights.keys() == late.checkpoint.weights.keys()
    for name, expected in whole.checkpoint.weights.items():
        assert torch.equal(late.checkpoint.weights[name], expected), name
