"""What every method of the registry must do, on a vision transformer and on a convolutional timm trunk."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from planted import CALIBRATION
from tolerance import close, transformer
from unit.baselines.conftest import DIMENSION
from vialign.aligner.folding import fold
from vialign.catalogue import (
    AVERAGED,
    BASELINES,
    BOX_METHODS,
    COMPARED,
    CURRICULUM,
    LEARNING_RATES,
    LONG,
    METHODS,
    REGION_METHODS,
    UNTRAINED,
    family,
)
from vialign.config.experiment import load_config
from vialign.digest import module_closure
from vialign.errors import UserError
from vialign.features import BackboneFacts
from vialign.files.artifacts import read_tensors, write_tensors
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.methods.build import build_method, learning_rate
from vialign.methods.sizing import sized_rank
from vialign.training.loop import require_gradients

SCORES = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers of these tests to a similarity."""

CONFIG = load_config(
    {
        "training": {"lora_rank": 2},
        "baselines": {"image_prompts": 3, "text_prompts": 2, "cache_pairs": 4, "crop_grid": 2},
    }
)
TRAINED = [name for name in METHODS if name not in UNTRAINED]
START_AT_FROZEN = {"frozen", "lora", "adapter", "clip-adapter", "bitfit", "uniter", *CURRICULUM}
START_AT_FROZEN |= {"labclip", "negclip", "fsc-clip", "tip-adapter", "grounding", "lora-grounding", "lora-boxes", *LONG}
"""By their papers; prompts and context vectors are drawn, and FILIP and VinVL have another score."""

every_method = pytest.mark.parametrize("name", METHODS)
every_trained = pytest.mark.parametrize("name", TRAINED)


def build(name, backbone, seed=0):
    return build_method(name, CONFIG, backbone, CALIBRATION, seed)


def moved(method):
    """The method away from its start, where zeros would hide a mistake."""
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream))
    return method.eval()


def sides(method, data, images=None, texts=None):
    images = torch.arange(len(data.image_ids)) if images is None else images
    texts = torch.arange(len(data.texts)) if texts is None else texts
    with torch.no_grad():
        return method.images(data, images), method.texts(data, texts)


@torch.no_grad()
def scores(method, data):
    images, texts = sides(method, data)
    return method.scores(images, texts)


def trained_steps(method, data, batch, count, rate):
    method.train()
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=rate)
    for _ in range(count):
        optimiser.zero_grad()
        method.loss(data, batch)["loss"].backward()
        optimiser.step()
    return method


def loss(method, data, batch):
    with torch.no_grad():
        return float(method.eval().loss(data, batch)["loss"])


def expected_parameters(name, backbone):
    """The formula of each method's docstring, by hand: text width 16, vision width 32, two blocks each."""
    d, text, vision, blocks, lora_rank, context = DIMENSION, 16, 32, 2, 2, 16

    def uniter(w, layers):
        embedding = w * (d + 1) + 8 * w + w * (d + text + 1) + context * w + w + 4 * w
        return embedding + layers * (8 * w * w + 11 * w) + 3 * w + 1

    name = LONG.get(name, name)
    vit = backbone.trunk_width == 0
    curriculum = CONFIG.curriculum
    if name in CURRICULUM:
        rank = sized_rank(CONFIG, BackboneFacts.of(backbone), CALIBRATION)
        small, modules = curriculum.adapter_rank, CURRICULUM[name]
        head = 4 * d * curriculum.head_rank
        regularise = 4 * d * small if "regularise" in modules else 0
        return head + regularise + (rank * (3 * d + 22) + 2 * d * small + 4 if "correct" in modules else 0)
    if name == "adapter":
        image = blocks * (2 * (2 * vision * 2 + 2 + vision) + 4 * vision) if vit else 2 * d * 1 + 1 + d
        return image + blocks * (2 * (2 * text * 1 + 1 + text) + 4 * text)
    if name == "bitfit":
        modules = list(backbone.model.visual.modules())
        norms = sum(module.num_features for module in modules if isinstance(module, nn.BatchNorm2d))
        convolutions = sum(m.out_channels for m in modules if isinstance(m, nn.Conv2d) and m.bias is not None)
        image = blocks * 11 * vision + 2 * vision if vit else norms + convolutions + d
        return image + blocks * 11 * text + text
    if name == "negclip":
        whole = dict(backbone.model.named_parameters())
        return sum(parameter.numel() for key, parameter in whole.items() if not key.startswith("logit_"))
    if name in ("lora", "lora-grounding", "lora-boxes", "fsc-clip"):
        image = 6 * lora_rank * vision * blocks if vit else lora_rank * (backbone.trunk_width + d)
        return image + 6 * lora_rank * text * blocks
    vinvl = d * (d + 7) + d * d + d * (d + text + 1) + d + text + 2
    return {
        **dict.fromkeys(UNTRAINED, 0),
        "labclip": d * d,
        "clip-adapter": 2 * 2 * d * (d // 4),
        "prompt": blocks * 2 * text + (blocks * 3 * vision if vit else 0),
        "coop": 4 * text,
        "filip": 2 * (d * d + d),
        "vinvl": vinvl,
        "vinvl-pairs": vinvl + 2 * d * d + 9 * d + d * (d + text + 1) + d + text + 1,
        "uniter": uniter(CONFIG.baselines.uniter_width, CONFIG.baselines.uniter_layers),
    }[name]


@every_method
def test_the_number_of_trainable_parameters_is_as_its_docstring_says(name, backbone):
    method = build(name, backbone)
    assert method.name == name
    trainable = method.trainable()
    assert sum(parameter.numel() for parameter in trainable.values()) == expected_parameters(name, backbone)


def test_sizing_the_full_model_takes_no_random_numbers_from_its_caller(backbone):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    sized_rank(CONFIG, BackboneFacts.of(backbone), CALIBRATION)
    assert torch.equal(torch.get_rng_state(), before)


@every_method
def test_pair_scores_are_the_diagonal_and_a_pair_does_not_depend_on_the_others(name, backbone, data):
    method = moved(build(name, backbone))
    whole = scores(method, data)
    count = len(data.image_ids)
    images, texts = sides(method, data, texts=torch.arange(count))
    torch.testing.assert_close(method.pair_scores(images, texts), whole[:, :count].diagonal(), atol=SCORES, rtol=0)
    for image, text in ((0, 0), (3, 5), (5, 20)):
        length = int(data.mask[text].nonzero().max()) + 2
        parts = {part: getattr(data, part)[:, :length] for part in ("token_ids", "states", "mask")}
        alone = sides(method, replace(data, **parts), torch.tensor([image]), torch.tensor([text]))
        for found in (method.scores(*alone), method.pair_scores(*alone)):
            assert abs(float(found.detach() - whole[image, text])) <= SCORES
    assert float(whole.std()) > 1e-3 and float(whole.abs().max()) <= 1 + SCORES


@every_method
def test_it_starts_at_the_frozen_scores_where_its_paper_says_so(name, backbone, data):
    difference = (scores(build(name, backbone).eval(), data) - scores(build("frozen", backbone), data)).abs().max()
    assert float(difference) <= SCORES if name in START_AT_FROZEN else float(difference) > 1e-3


@every_trained
def test_every_trainable_tensor_gets_a_gradient(name, backbone, data, batch):
    method = build(name, backbone).train()
    method.loss(data, batch)["loss"].backward()
    require_gradients(name, method.trainable())
    elsewhere = moved(build(name, backbone)).train()
    elsewhere.loss(data, batch)["loss"].backward()
    for key, parameter in elsewhere.trainable().items():
        assert bool(parameter.grad.isfinite().all()), key
        assert float(parameter.grad.abs().max()) > 0, key


@every_trained
def test_training_changes_what_is_trainable_and_nothing_else(name, backbone, data, batch):
    method = build(name, backbone)
    names = set(method.trainable()) | set(method.statistics())
    before = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    frozen = {key: tensor.clone() for key, tensor in backbone.model.state_dict().items()}
    trained_steps(method, data, batch, 3, 1e-3)
    after = method.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if key not in names)
    assert all(not torch.equal(after[key], before[key]) for key in method.trainable())
    assert all(torch.equal(tensor, frozen[key]) for key, tensor in backbone.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


@every_trained
def test_one_small_step_lowers_the_loss_of_its_batch(name, backbone, data, batch):
    method = build(name, backbone)
    before = loss(method, data, batch)
    assert loss(trained_steps(method, data, batch, 1, 1e-4), data, batch) < before


@every_trained
def test_saved_and_loaded_weights_give_the_same_scores_bit_for_bit(name, backbone, data, batch, tmp_path):
    method = trained_steps(build(name, backbone), data, batch, 2, 1e-2).eval()
    write_tensors(method.state(), tmp_path / "state.safetensors", {})
    global_state = torch.get_rng_state()
    again = build(name, backbone, seed=1).eval()
    assert torch.equal(torch.get_rng_state(), global_state), "the start is drawn from streams of its own"
    assert not torch.equal(scores(again, data), scores(method, data))
    again.load_state(read_tensors(tmp_path / "state.safetensors"))
    assert torch.equal(scores(again, data), scores(method, data))


@every_method
def test_it_names_all_it_reads(name, backbone, data):
    """With nothing of the optional data but what it says it needs, the scores are the same."""
    method = moved(build(name, backbone))
    optional = {"pixels", "trunk", "token_ids", "patches", "states", "regions"} - method.needs
    given = replace(data, **dict.fromkeys(optional), mask=data.mask if "states" in method.needs else None)
    torch.testing.assert_close(scores(method, given), scores(method, data), atol=SCORES, rtol=0)
    for part in method.needs:
        with pytest.raises(ValueError, match=f"{name} needs"):
            scores(method, replace(data, **dict.fromkeys({part, "pixels"})))


@every_method
def test_the_start_follows_from_the_seed_and_frozen_weights_are_those_of_the_backbone(name, backbone):
    method, again = build(name, backbone), build(name, backbone)
    assert all(torch.equal(tensor, again.state()[key]) for key, tensor in method.state().items())
    own = {id(parameter) for parameter in backbone.model.parameters()}
    copies = [key for key, p in method.named_parameters() if not p.requires_grad and id(p) not in own]
    assert not copies and not any(id(parameter) in own for parameter in method.trainable().values())


def test_every_method_has_a_name_a_learning_rate_and_code_that_is_watched():
    assert all(re.fullmatch("[a-z-]+", name) for name in METHODS)
    assert all(learning_rate(name, CONFIG.training) == 0 for name in UNTRAINED)
    assert all(learning_rate(name, CONFIG.training) > 0 for name in TRAINED)
    assert {family(name) for name in TRAINED} == set(LEARNING_RATES)
    assert family("clip-adapter") == "clip-adapter" and family("vialign-correct") == "vialign"
    assert {method.module for method in METHODS.values()} <= set(module_closure("vialign.methods.build"))
    rates = CONFIG.training.model_copy(update={"learning_rates": {"lora": 0.5}})
    assert learning_rate("lora", rates) == 0.5 and learning_rate("coop", rates) == LEARNING_RATES["coop"]
    with pytest.raises(UserError, match="names 'clip'; known methods: frozen, lora"):
        build("clip", None)


def test_an_average_is_the_method_that_it_averages_under_its_own_name(backbone, data):
    assert set(AVERAGED) < set(COMPARED) and not set(AVERAGED) & set(METHODS)
    for name, averaged in AVERAGED.items():
        method = build(name, backbone)
        assert method.name == name and method.state().keys() == build(averaged, backbone).state().keys()
        assert family(name) == family(averaged) and averaged in TRAINED


def changed_weights(name, backbone):
    """Weights of the backbone that a trained method has changed, or that could hold its change."""
    method = moved(build(name, backbone))
    try:
        model = method.merged().model if isinstance(method, TunedBackbone) else fold(method, backbone)
    except UserError:  # what it trains is not behind a tower, or no matrix
        return []
    there = dict(model.named_parameters())
    return [key for key, own in backbone.model.named_parameters() if not torch.equal(there.get(key, own), own)]


def test_every_baseline_that_changes_weights_of_the_backbone_has_an_average_and_no_other(backbone):
    expected = {name for name in (*BASELINES, *LONG) if changed_weights(name, backbone)}
    assert set(AVERAGED.values()) == expected
    assert {"lora", "lora-long", "adapter", "labclip"} < expected and not {"frozen", "prompt"} & expected


def test_regions_are_made_for_the_methods_that_read_them(backbone):
    assert {name for name in METHODS if "regions" in build(name, backbone).needs} == set(REGION_METHODS)


@every_trained
def test_boxes_are_asked_for_by_the_methods_that_are_told_them_and_in_a_step_alone(name, backbone, data, batch):
    method, without = build(name, backbone), replace(data, boxes=None)
    scores(method, without)
    if name in BOX_METHODS:
        with pytest.raises(ValueError, match=f"{name} needs labelled boxes"):
            method.loss(without, batch)
    else:
        torch.testing.assert_close(method.loss(without, batch)["loss"], method.loss(data, batch)["loss"])


def test_a_long_training_is_that_of_another_method_with_its_rate(backbone):
    assert set(LONG) < set(COMPARED) and set(LONG.values()) < set(TRAINED)
    for name, usual in LONG.items():
        state, same = build(name, backbone).state(), build(usual, backbone).state()
        assert all(torch.equal(tensor, same[key]) for key, tensor in state.items())
        assert family(name) == usual and learning_rate(name, CONFIG.training) == LEARNING_RATES[usual]
