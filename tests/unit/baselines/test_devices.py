"""No method makes a tensor on another device than its data's, none is left behind when it moves, and halves will do.

Where `elsewhere` lasts, a tensor that is made on the CPU, or has stayed there, cannot meet what has moved.
"""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch

from elsewhere import META, elsewhere
from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.test_conformance import CONFIG, build, every_method, every_trained, loss, moved, scores
from vialign.catalogue import UNTRAINED
from vialign.config.methods import TrainingConfig
from vialign.device import CPU, autocast
from vialign.methods.build import build_method
from vialign.training import loop
from vialign.training.loop import train

HALVES = 60
"""Roundings to bfloat16 on the way to a score: two of each of five products a block and tower, and a few more."""
RECIPE = TrainingConfig(batch=4, steps=6, early_steps=3, checks=2)


def taken(data):
    """The split as a GPU would have it: positions on the CPU, all else on the meta device."""
    names = ("image_pooled", "text_pooled", "pixels", "trunk", "token_ids", "patches", "states", "mask", "words")
    there = {name: getattr(data, name) for name in (*names, "prototypes", "phrases")}
    there = {name: None if part is None else part.to(META) for name, part in there.items()}
    return replace(data, **there, regions=data.regions.bound_for(META), boxes=data.boxes.to(META))


@every_method
def test_nothing_of_a_method_stays_behind_when_it_and_its_data_move(name, backbone, data, batch):
    with elsewhere():
        method, there = build(name, backbone).to(META), taken(data)
        assert {tensor.device for tensor in method.state().values()} <= {META}
        images, texts = run(method, there, batch)
    assert {part.device for side in (images, texts) for part in side.values()} == {META}
    if name not in UNTRAINED:
        assert {parameter.grad.device for parameter in method.trainable().values()} == {META}


def run(method, data, batch):
    """A training step without the optimiser's part, and all scores of the batch; both sides."""
    found = method.loss(data, batch)["loss"]
    if found.requires_grad:
        found.backward()
    images, texts = method.images(data, batch.images), method.texts(data, batch.texts)
    for scored in (method.scores(images, texts), method.pair_scores(images, texts)):
        assert scored.device == found.device
    return images, texts


@every_method
def test_every_tensor_that_a_method_makes_is_where_its_data_are(name, backbone, data, batch):
    """And none is made where nobody says where."""
    method = moved(build(name, backbone)).train()
    with META:
        method.begin(data)
        images, texts = run(method, data, batch)
    found = [*images.values(), *texts.values(), *method.state().values()]
    assert {tensor.device for tensor in found} == {CPU}


@every_method
def test_a_method_runs_in_bfloat16(name, backbone, data, batch):
    method = moved(build(name, backbone))
    expected = scores(method, data)
    with autocast(CPU, "bfloat16"):
        found = scores(method, data).float()
        halved = loss(method, data, batch)
    torch.testing.assert_close(found, expected, atol=close(torch.bfloat16, HALVES), rtol=0)
    assert float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]) > 0.99
    # No rounding of scores moves a softmax over them by more than twice its size in logits, nor the other term.
    assert (
        abs(halved - loss(method, data, batch)) < 4 * method.logit_scale * float((found - expected).abs().max()) + 0.1
    )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_towers_in_halves_give_single_precision(precision, backbone, data, captions):
    whole, halved = backbone, copy.deepcopy(backbone).in_precision(precision)
    assert halved.contract["precision"] == precision and "precision" not in whole.contract
    ids = backbone.tokenize(captions).ids
    for encode, given in (
        (lambda towers, pixels: towers.encode_image(towers.normalise(pixels)), data.pixels),
        (lambda towers, ids: towers.encode_text(ids), ids),
        (lambda towers, ids: towers.text_tokens(ids)[0], ids),
    ):
        expected, found = encode(whole, given), encode(halved, given)
        assert found.dtype == torch.float32 and not torch.equal(found, expected)
        torch.testing.assert_close(found, expected, atol=close(getattr(torch, precision), HALVES), rtol=0)
        lengths = found.norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=close(torch.float32, found.shape[1]), rtol=0)
    assert halved.image_outputs(halved.normalise(data.pixels), ("final",)).patches["final"].dtype == torch.float32


@pytest.fixture
def trained(backbone, data):
    """Trains LoRA on towers in a precision."""
    given = partial(train, config=RECIPE, peak_rate=1e-2, seed=0, train_data=data, selection_data=data)

    def run_on(precision, **settings):
        towers = copy.deepcopy(backbone).in_precision(precision)
        return given(build_method("lora", CONFIG, towers, CALIBRATION, 0), **settings)

    return run_on


def test_training_in_float16_follows_float32_and_goes_on_as_if_it_had_never_stopped(trained):
    plain, whole = trained("float32", to_step=6), trained("float16", to_step=6)
    # The first step may overflow and be left out, which halves the scale: after that one is a step behind, and only the
    # end is the same. In six steps of 1e-2 roundings of 1e-3 in a score have no time to grow further.
    taken = whole.log["gradient_norm"].notna()
    assert taken.iloc[1:].all()
    apart = (whole.log["loss"] - plain.log["loss"]).abs()
    assert 0 < float(apart.max() if taken.all() else apart.iloc[-1]) < 0.1
    first = trained("float16", to_step=3)
    second = trained("float16", to_step=6, start=first.checkpoint)
    assert all(torch.equal(tensor, second.checkpoint.weights[key]) for key, tensor in whole.checkpoint.weights.items())
    assert plain.checkpoint.optimiser.keys() < whole.checkpoint.optimiser.keys()


def test_a_step_whose_gradients_overflow_in_float16_is_left_out(trained, monkeypatch):
    monkeypatch.setattr(loop, "_LOSS_SCALE", 2.0**40)
    start, overflown = trained("float16", to_step=0), trained("float16", to_step=1)
    assert overflown.log["gradient_norm"].isna().all()
    assert float(overflown.checkpoint.optimiser["loss scale.scale"]) == 2.0**39
    assert all(
        torch.equal(tensor, overflown.checkpoint.weights[key]) for key, tensor in start.checkpoint.weights.items()
    )


def test_the_loss_is_compiled_where_that_is_asked_for(backbone, data, monkeypatch):
    compiled = []

    def plain(function, **settings):
        compiled.append((function.__name__, settings))
        return function

    monkeypatch.setattr(torch, "compile", plain)
    for asked, expected in ((False, []), (True, [("loss", {"dynamic": True})])):
        recipe = RECIPE.model_copy(update={"compile": asked})
        train(build("labclip", backbone), data, data, recipe, peak_rate=1e-2, seed=0, to_step=1)
        assert compiled == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_trained
def test_a_step_on_a_gpu_is_that_on_the_cpu_but_for_roundings(name, backbone, data, batch):
    gpu = torch.device("cuda", 0)
    names = ("image_pooled", "text_pooled", "pixels", "trunk", "token_ids", "patches", "states", "mask", "words")
    there = {name: getattr(data, name) for name in (*names, "prototypes", "phrases")}
    there = {name: None if part is None else part.to(gpu) for name, part in there.items()}
    method = build(name, backbone)
    expected = loss(method, data, batch)
    found = loss(method.to(gpu), replace(data, **there, regions=data.regions.bound_for(gpu)), batch)
    method.to(CPU)  # and with it the weights that it shares with the backbone of all tests
    assert abs(found - expected) <= close(torch.float32, transformer(32, 2), 4 * method.logit_scale)
