import json
import sys

import pytest
import torch

from planted import Vocabulary, planted_world
from tolerance import close, transformer
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig
from vialign.config.methods import TrainingConfig
from vialign.errors import UserError
from vialign.methods.baselines.lora import Lora, adapted_layers
from vialign.methods.checkpoint import load_checkpoint, save_checkpoint
from vialign.methods.objective import Batch, SplitData
from vialign.training.loop import require_gradients, train

TOWER = close(torch.float32, transformer(width=32, layers=2))
"""Two ways through the towers of these tests."""

VISION = {
    "vit": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "trunk": {
        "timm_model_name": "mobilenetv2_035",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
        "timm_proj_bias": True,
        "image_size": 32,
    },
}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
RECIPE = TrainingConfig(batch=4, steps=6, early_steps=3, checks=2, lora_rank=2)


@pytest.fixture(scope="module", params=list(VISION))
def backbone(request, tmp_path_factory):
    name = f"tiny-lora-{request.param}"
    path = tmp_path_factory.mktemp("models") / f"{name}.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": VISION[request.param], "text_cfg": TEXT}))
    return load_backbone(BackboneConfig(architecture=name, definition=str(path), checkpoint=None))


@pytest.fixture(scope="module")
def data(backbone):
    world = planted_world(Vocabulary(16), images=6, seed=0)
    pixels = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ids = backbone.tokenize([f"a text number {n}" for n in range(len(world.texts))]).ids
    return SplitData(**{**vars(world), "pixels": pixels, "token_ids": ids})


def build(backbone, seed=0):
    return Lora(backbone, RECIPE.lora_rank, 1.0, seed)


def batch_of(data):
    texts = data.captions[::2][:4]
    return Batch(torch.arange(4), texts, data.negatives[texts, 0])


def embeddings(method, data):
    with torch.inference_mode():
        images = method.images(data, torch.arange(6))["pooled"]
        return images, method.texts(data, torch.arange(len(data.texts)))["pooled"]


def test_it_starts_at_the_frozen_embeddings(backbone, data):
    images, texts = embeddings(build(backbone).eval(), data)
    torch.testing.assert_close(images, backbone.encode_image(backbone.normalise(data.pixels)), atol=TOWER, rtol=0)
    torch.testing.assert_close(texts, backbone.encode_text(data.token_ids), atol=TOWER, rtol=0)


def test_both_towers_are_adapted_and_every_trainable_tensor_gets_a_gradient(backbone, data):
    method = build(backbone).train()
    trainable = method.trainable()
    assert any(".visual." in name for name in trainable) and any("resblocks" in name for name in trainable)
    assert all("lora_" in name for name in trainable)
    method.loss(data, batch_of(data))["loss"].backward()
    require_gradients("lora", trainable)
    starts_at_zero = {name: p.grad.abs().max() > 0 for name, p in trainable.items() if "lora_B" in name}
    assert all(starts_at_zero.values())


def test_training_changes_the_copy_and_never_the_backbone(backbone, data):
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    method = build(backbone)
    frozen = {name: t.clone() for name, t in method.model.state_dict().items() if "lora_" not in name}
    start = embeddings(method.eval(), data)
    loss = float(method.loss(data, batch_of(data))["loss"].detach())
    train(method, data, data, RECIPE.model_copy(update={"batch": 6}), peak_rate=3e-3, seed=0, to_step=6)
    assert float(method.loss(data, batch_of(data))["loss"].detach()) < loss - 0.01
    assert all(float((a - b).abs().max()) > 1e-4 for a, b in zip(embeddings(method, data), start, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.model.state_dict().items())
    assert all(torch.equal(method.model.state_dict()[name], tensor) for name, tensor in frozen.items())


def test_a_resumed_training_is_the_same_bit_for_bit_also_after_an_evaluation(backbone, data, tmp_path):
    whole = train(build(backbone), data, data, RECIPE, peak_rate=1e-2, seed=0, to_step=6)
    early = build(backbone)
    first = train(early, data, data, RECIPE, peak_rate=1e-2, seed=0, to_step=3)
    embeddings(early, data)
    save_checkpoint(first.checkpoint, tmp_path / "early.safetensors", {})
    start = load_checkpoint(tmp_path / "early.safetensors")
    late = train(build(backbone), data, data, RECIPE, peak_rate=1e-2, seed=0, to_step=6, start=start)
    assert all(torch.equal(late.checkpoint.weights[k], v) for k, v in whole.checkpoint.weights.items())


def test_what_a_frozen_trunk_gave_stands_for_the_pixels(backbone, data):
    method = build(backbone)
    if backbone.trunk_width == 0:
        assert method.needs == {"pixels", "token_ids"}
        return
    assert method.needs == {"trunk", "token_ids"}
    train(method, data, data, RECIPE, peak_rate=1e-2, seed=0, to_step=2)
    with torch.no_grad():
        trunk = backbone.model.visual.trunk(backbone.normalise(data.pixels))
    stored = SplitData(**{**vars(data), "pixels": None, "trunk": trunk})
    torch.testing.assert_close(embeddings(method, stored), embeddings(method, data))
    method.loss(stored, batch_of(stored))["loss"].backward()
    require_gradients("lora", method.trainable())


def test_the_seed_decides_the_start_and_global_random_state_is_left_alone(backbone):
    state = torch.get_rng_state()
    first, again, other = build(backbone).state(), build(backbone).state(), build(backbone, seed=1).state()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_tower_with_nothing_to_adapt_is_an_error():
    model = torch.nn.Module()
    model.visual = torch.nn.Conv2d(3, 4, 3)
    with pytest.raises(UserError, match="image tower"):
        adapted_layers(model)


def test_the_known_trap_is_caught(backbone):
    """Naming the output projection of `nn.MultiheadAttention` gives adapters that no gradient reaches."""
    from peft import LoraConfig, inject_adapter_in_model

    layer = torch.nn.TransformerEncoderLayer(8, 2, 8, dropout=0.0, batch_first=True)
    model = inject_adapter_in_model(LoraConfig(r=2, target_modules=["out_proj", "linear1"]), layer)
    model.train()(torch.randn(2, 3, 8)).sum().backward()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with pytest.raises(RuntimeError, match="out_proj"):
        require_gradients("lora", trainable)


def test_without_peft_it_names_the_extra(backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"lora needs peft, .* `pip install 'vialign\[baselines\]'`"):
        build(backbone)
