"""BLIP at its real architecture, thinner and shallower, against transformers' own `BlipForImageTextRetrieval`."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BlipConfig

from tiny_blip import SMALL, VISION, own_blip, write_blip
from tolerance import close, transformer
from vialign.backbone import Backbone, load_backbone
from vialign.backbone.blip import BlipImageTower, BlipTowers
from vialign.config.data import BackboneConfig
from vialign.errors import UserError

TOWER = close(torch.float32, transformer(width=40, layers=4))
"""Two ways through the towers of these tests."""

TEXTS = ["a red circle above a blue square", "star", "", "circle star " * 40]


@pytest.fixture(scope="module")
def oracle():
    return own_blip()


@pytest.fixture(scope="module")
def folder(oracle, tmp_path_factory):
    return write_blip(oracle, tmp_path_factory.mktemp("blip"))


def load(folder, checkpoint="model.safetensors", seed=0, **settings):
    checkpoint = None if checkpoint is None else str(folder / checkpoint)
    return load_backbone(
        BackboneConfig(architecture="blip", definition=str(folder), checkpoint=checkpoint, **settings), seed
    )


@pytest.fixture
def backbone(folder):
    return load(folder)


@pytest.fixture
def pixels(backbone):
    raw = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    return backbone.normalise(raw.to(torch.uint8))


def padded(backbone, texts, length=35):
    """Ids at BLIP's whole context, and which of them are not padding."""
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in enumerate(texts):
        own = [2, *backbone.tokenizer.pieces(text)[0][: length - 2], 3]
        ids[row, : len(own)] = torch.tensor(own)
    return ids, ids != 0


def test_it_is_a_backbone_of_the_published_towers_without_cross_attention(backbone, oracle):
    assert isinstance(backbone, Backbone)
    assert (backbone.grid, backbone.dimension, backbone.context_length) == ((4, 4), 24, 35)
    assert (backbone.image_size, backbone.resize_mode) == (64, "squash")
    assert backbone.readouts == ("final", "value", "self_self", "early")
    assert backbone.logit_scale == pytest.approx(np.exp(2.6592))
    names = [name for name, _ in oracle.named_parameters()]
    left_out = {name for name in names if "crossattention" in name or name.startswith("itm_head")}
    assert left_out
    assert len(list(backbone.model.parameters())) == len(names) - len(left_out)
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


def test_pooled_embeddings_give_transformers_own_scores(backbone, oracle, pixels):
    ids, mask = padded(backbone, TEXTS)
    expected = oracle(ids, pixels, use_itm_head=False, attention_mask=mask)
    images, texts = backbone.encode_image(pixels), backbone.encode_text(backbone.tokenize(TEXTS).ids)
    torch.testing.assert_close(images @ texts.T, expected.itm_score, atol=TOWER, rtol=0)
    assert expected.itm_score.std() > 1e-3
    torch.testing.assert_close(images.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(4))
    output = backbone.image_outputs(pixels, backbone.readouts)
    torch.testing.assert_close(output.pooled, images, atol=TOWER, rtol=0)
    torch.testing.assert_close(output.patches["final"], oracle.vision_proj(expected.last_hidden_state[:, 1:]))
    assert {patches.shape for patches in output.patches.values()} == {(2, 16, 24)}
    _, states = backbone.text_tokens(ids)
    torch.testing.assert_close(states[..., :24][mask], oracle.text_proj(expected.question_embeds)[mask])
    assert torch.equal(states[..., 24:], oracle.text_encoder.embeddings.word_embeddings(ids))


def test_padding_is_masked_so_a_cut_is_exact_although_the_tower_looks_both_ways(backbone, oracle):
    ids, mask = padded(backbone, TEXTS)
    own = oracle.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(oracle.text_proj(own), dim=-1)
    for rows in ([0, 1, 2, 3], [0, 1], [1], [2]):
        tokens = backbone.tokenize([TEXTS[row] for row in rows])
        longest = int(mask[rows].sum(dim=1).max())
        assert torch.equal(tokens.ids, ids[rows, :longest])
        torch.testing.assert_close(backbone.encode_text(tokens.ids), expected[rows], atol=TOWER, rtol=0)
    blind = oracle.text_proj(oracle.text_encoder(input_ids=ids).last_hidden_state[:, 0])  # no mask: padding is seen
    assert not torch.allclose(torch.nn.functional.normalize(blind, dim=-1)[1], expected[1], atol=1e-3)
    later = ids[[0]].clone()
    later[0, 3] = 7
    first = backbone.text_tokens(ids[[0]])[1][0, 1, :24], backbone.text_tokens(later)[1][0, 1, :24]
    assert not torch.allclose(*first, atol=1e-4)  # a later word changes an earlier state: it does look both ways


def test_gradients_reach_pixels_and_words_and_given_embeddings_are_left_as_they_are(backbone):
    raw = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for readout in backbone.readouts:
        raw.grad = None
        pooled, patches = backbone.image_tokens(backbone.normalise(raw), readout)
        (pooled[0, 0] + patches.square().sum()).backward()
        assert (raw.grad.abs() > 0).float().mean() > 0.9
    ids = backbone.tokenize(TEXTS[:2]).ids
    embeddings = backbone.token_embeddings(ids).requires_grad_()
    before = embeddings.detach().clone()
    encoded = backbone.encode_token_embeddings(embeddings, ids)
    torch.testing.assert_close(encoded, backbone.encode_text(ids))
    encoded[:, 0].sum().backward()
    assert torch.equal(embeddings.detach(), before)
    assert (embeddings.grad.abs().sum(dim=-1) > 0).equal(ids != 0)


def test_the_value_path_and_the_maps_are_those_of_the_last_attention(backbone, oracle, pixels):
    last, inside = oracle.vision_model.encoder.layers[-1], []
    handle = last.register_forward_pre_hook(lambda _, arguments: inside.append(arguments[0]))
    oracle.vision_model(pixels)
    handle.remove()
    normed = last.layer_norm1(inside[0])
    _, weights = last.self_attn(normed)
    torch.testing.assert_close(backbone.attention_maps(pixels), weights[:, :, 0, 1:])
    alone, _ = last.self_attn(normed[:, [6]])
    expected = oracle.vision_proj(oracle.vision_model.post_layernorm(alone))
    pooled, patches = backbone.image_tokens(pixels, "value")
    torch.testing.assert_close(patches[:, [5]], expected, atol=TOWER, rtol=0)
    torch.testing.assert_close(pooled, backbone.encode_image(pixels), atol=TOWER, rtol=0)


def test_preprocessing_is_that_of_blips_own_processor(backbone):
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    drawn = np.random.default_rng(0).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    image = Image.fromarray(drawn)
    processor = BlipImageProcessorPil(size={"height": 64, "width": 64})
    expected = torch.from_numpy(np.asarray(processor(image, return_tensors="np")["pixel_values"]))
    torch.testing.assert_close(backbone.normalise(backbone.preprocess(image)[None]), expected, atol=TOWER, rtol=0)


def test_random_weights_are_named_by_their_seed_and_tell_images_apart(folder, pixels):
    first, again, other = (load(folder, None, seed) for seed in (3, 3, 4))
    assert first.contract["checkpoint"] == "random:3"
    assert torch.equal(first.encode_image(pixels), again.encode_image(pixels))
    assert not torch.allclose(first.encode_image(pixels), other.encode_image(pixels), atol=1e-2)
    assert (first.encode_image(pixels)[0] - first.encode_image(pixels)[1]).abs().max() > 1e-4
    assert first.contract | {"checkpoint": ""} == load(folder).contract | {"checkpoint": ""}


def test_what_is_missing_or_does_not_fit_is_one_readable_line(folder, words, tmp_path):
    def message(**settings):
        with pytest.raises(UserError) as error:
            load_backbone(BackboneConfig(architecture="blip", **settings))
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "name the folder of a BLIP model: config.json, tokenizer.json" in message(checkpoint=None)
    assert "config.json: no such file" in message(definition=str(tmp_path), checkpoint=None)
    assert "'package' is not a file; name the model.safetensors" in message(definition=str(folder))
    (tmp_path / "config.json").write_text("{")
    assert "config.json: line 1, column 2: is not JSON" in message(definition=str(tmp_path), checkpoint=None)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    assert "model_type is 'clip', not 'blip'" in message(definition=str(tmp_path), checkpoint=None)
    wrong = SMALL | {"model_type": "blip", "vision_config": VISION | {"num_attention_heads": 5}}
    (tmp_path / "config.json").write_text(json.dumps(wrong))
    assert "not a model that transformers can build" in message(definition=str(tmp_path), checkpoint=None)
    wide = SMALL | {"model_type": "blip", "image_text_hidden_size": 28}
    (tmp_path / "config.json").write_text(json.dumps(wide))
    settings = {"definition": str(tmp_path), "tokenizer": str(words)}
    found = message(checkpoint=str(folder / "model.safetensors"), **settings)
    assert "tensor vision_proj.weight has shape [24, 32] in the file and [28, 32] in the model" in found
    assert "tokenizer.json: no such file" in message(definition=str(tmp_path), checkpoint=None)
    assert load_backbone(BackboneConfig(architecture="blip", checkpoint=None, **settings)).dimension == 28


def test_the_published_size_has_its_shapes():
    text = {"num_attention_heads": 12, "vocab_size": 30524}
    with torch.device("meta"):  # sizes without contents
        model = BlipTowers(BlipConfig.from_dict({"text_config": text})).eval()
        tower = BlipImageTower(model)
        output = tower.read(torch.empty(2, 3, 384, 384), tower.readouts)
    # ViT-B/16 at 384 pixels, BERT base without pooler, and two projections to 256
    vision = 577 * 768 + 768 + (3 * 16 * 16 + 1) * 768 + 12 * 7_087_872 + 2 * 768
    words = (30524 + 512 + 2) * 768 + 12 * 7_087_872
    assert sum(parameter.numel() for parameter in model.parameters()) == vision + words + 2 * 769 * 256
    assert tower.grid == (24, 24)
    assert {patches.shape for patches in output.patches.values()} == {(2, 576, 256)}
    assert output.pooled.shape == (2, 256)
