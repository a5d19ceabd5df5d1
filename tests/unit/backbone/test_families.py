"""open_clip's families at their real architecture, thinner and shallower, behind the one protocol.

Weights are random. Every family must give what its own `encode_image` and `encode_text` give, whatever is read beside
it and however short the batch's texts are.
"""

import copy
import functools
import json

import open_clip
import pytest
import timm
import torch

from tolerance import close, transformer
from vialign.backbone import Backbone, OpenClipBackbone, create_model, load_backbone, make_tokenizer
from vialign.backbone.image_towers import image_tower
from vialign.backbone.text_tower import text_tower
from vialign.config.data import BackboneConfig
from vialign.errors import UserError

TOWER = close(torch.float32, transformer(width=64, layers=4))
"""Two ways through the towers of these tests."""

TEXTS = ["a red circle above a blue square", "star", "", "circle star " * 40]
THIN = {"width": 32, "heads": 2, "layers": 2}


def vit_l(settings):
    settings["vision_cfg"] |= {"image_size": 56, "layers": 4, "width": 32, "head_width": 16}
    settings["text_cfg"] |= THIN


def coca(settings):
    settings["vision_cfg"] |= {"image_size": 128, "layers": 4, "width": 48, "head_width": 16}
    settings["text_cfg"] |= THIN
    settings["multimodal_cfg"] |= THIN


def siglip(settings):
    settings["vision_cfg"]["image_size"] = 64
    settings["text_cfg"] |= THIN | {"vocab_size": 60}


FAMILIES = {
    "ViT-L-14": ("ViT-L-14", vit_l, (4, 4)),
    "CoCa": ("coca_ViT-B-32", coca, (4, 4)),
    "CoCa corrected": ("coca_ViT-B-32", coca, (4, 4)),
    "SigLIP": ("ViT-B-16-SigLIP", siglip, (4, 4)),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def backbone(family, tmp_path, unigrams, monkeypatch):
    source, reduce, _ = FAMILIES[family]
    settings = copy.deepcopy(open_clip.get_model_config(source))
    settings["embed_dim"] = 24 if family != "SigLIP" else 48
    reduce(settings)
    if family == "SigLIP":  # open_clip takes the trunk's size from timm's name of it
        small = functools.partial(timm.create_model, depth=4, embed_dim=48, num_heads=4, img_size=64)
        monkeypatch.setattr(open_clip.timm_model.timm, "create_model", small)
    name = f"thin-{family.replace(' ', '-')}-siglip" if family == "SigLIP" else f"thin-{family.replace(' ', '-')}"
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(settings))
    tokenizer = make_tokenizer(name, path, unigrams if family == "SigLIP" else None)
    model = create_model(name, path, seed=5)
    if family == "CoCa corrected":
        model.text.correct_cls_mask = True
    # biases and norms start at constants that would hide a mistake
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    return OpenClipBackbone(model, tokenizer, {"architecture": name})


@pytest.fixture
def pixels(backbone):
    side = backbone.image_size
    raw = torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(0))
    return backbone.normalise(raw.to(torch.uint8))


def whole_ids(backbone, unigrams, texts):
    """The whole context from open_clip's own tokenizers."""
    if backbone.context_length == 64:
        return open_clip.tokenizer.HFTokenizer(str(unigrams), context_length=64, clean="canonicalize")(texts)
    return open_clip.tokenizer.SimpleTokenizer(context_length=backbone.context_length)(texts)


def test_images_are_open_clips_with_one_patch_a_cell(backbone, family, pixels):
    assert isinstance(backbone, Backbone)
    assert (backbone.grid, backbone.readouts) == (FAMILIES[family][2], ("final", "value", "self_self", "early"))
    expected = backbone.model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(backbone.encode_image(pixels), expected, atol=TOWER, rtol=0)
    torch.testing.assert_close(expected.norm(dim=-1), torch.ones(2))
    output = backbone.image_outputs(pixels, backbone.readouts)
    torch.testing.assert_close(output.pooled, expected, atol=TOWER, rtol=0)
    assert {patches.shape for patches in output.patches.values()} == {(2, 16, backbone.dimension)}
    for name, patches in output.patches.items():
        assert patches.std(dim=1).min() > 1e-4, f"{name}: all patches alike"
        torch.testing.assert_close(backbone.image_tokens(pixels, name)[1], patches)


@pytest.mark.parametrize("family", ["CoCa"], indirect=True)
def test_cocas_decoder_of_captions_is_no_part_of_the_backbone(backbone):
    names = {name.split(".")[0] for name, _ in backbone.model.named_parameters()}
    assert names == {"visual", "text", "logit_scale"}


def test_texts_are_open_clips_however_short_the_batch_is(backbone, unigrams):
    whole = whole_ids(backbone, unigrams, TEXTS)
    expected = backbone.model.encode_text(whole, normalize=True)
    for rows in ([0, 1, 2, 3], [0, 1], [1], [2]):
        tokens = backbone.tokenize([TEXTS[row] for row in rows])
        assert torch.equal(tokens.ids, whole[rows, : tokens.ids.shape[1]])
        pooled, states = backbone.text_tokens(tokens.ids)
        torch.testing.assert_close(pooled, expected[rows], atol=TOWER, rtol=0)
        torch.testing.assert_close(backbone.encode_text(tokens.ids), expected[rows], atol=TOWER, rtol=0)
        assert states.shape == (len(rows), tokens.ids.shape[1], backbone.dimension + 32)
        from_embeddings = backbone.encode_token_embeddings(backbone.token_embeddings(tokens.ids), tokens.ids)
        torch.testing.assert_close(from_embeddings, expected[rows], atol=TOWER, rtol=0)


def test_a_cut_is_made_only_where_the_tower_does_not_see_what_is_cut_off(backbone, family, unigrams):
    whole = whole_ids(backbone, unigrams, ["star"])
    length = backbone.tokenize(["star"]).ids.shape[1]
    expected = backbone.encode_text(whole)
    if family == "SigLIP":  # looks both ways and at its padding: a cut would change every text
        assert length == backbone.context_length
        assert not torch.allclose(backbone.encode_text(whole[:, :10]), expected, atol=1e-3)
        return
    assert length == {"ViT-L-14": 3, "CoCa": 4, "CoCa corrected": 3}[family]
    torch.testing.assert_close(backbone.encode_text(whole[:, :length]), expected, atol=TOWER, rtol=0)
    if family == "CoCa":  # its class token sees one padding position, which must stay
        assert not torch.allclose(backbone.encode_text(whole[:, :3]), expected, atol=1e-4)


def test_gradients_reach_the_pixels_and_the_words(backbone):
    side = backbone.image_size
    raw = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    backbone.encode_image(backbone.normalise(raw))[0, 0].backward()
    assert (raw.grad.abs() > 0).float().mean() > 0.9
    for readout in backbone.readouts:
        raw.grad = None
        backbone.image_tokens(backbone.normalise(raw), readout)[1].square().sum().backward()
        assert (raw.grad.abs() > 0).float().mean() > 0.9
    ids = backbone.tokenize(TEXTS[:1]).ids
    embeddings = backbone.token_embeddings(ids).requires_grad_()
    backbone.encode_token_embeddings(embeddings, ids)[0, 0].backward()
    assert (embeddings.grad[0, : ids.shape[1] - 1].abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("family", ["CoCa", "SigLIP"], indirect=True)
def test_patches_of_a_pooler_are_what_it_makes_of_one_token_alone(backbone, family, pixels):
    visual = backbone.model.visual
    patches = backbone.image_tokens(pixels, "final")[1]
    if family == "SigLIP":
        tokens = visual.trunk.forward_features(pixels)
        alone = torch.cat([visual.head(visual.trunk.forward_head(tokens[:, [cell]])) for cell in range(16)])
    else:
        tokens = visual.transformer(visual._embeds(pixels))[:, 1:]
        alone = torch.cat([visual._pool(tokens[:, [cell]])[0] @ visual.proj for cell in range(16)])
    torch.testing.assert_close(patches.transpose(0, 1).flatten(0, 1), alone, atol=TOWER, rtol=0)


@pytest.mark.parametrize("family", ["CoCa"], indirect=True)
def test_attention_maps_are_the_weights_of_cocas_pooler(backbone, pixels):
    pooler, given = backbone.model.visual.attn_pool.attn, []
    pooler.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    maps = backbone.attention_maps(pixels)
    backbone.model.visual(pixels)
    _, weights = pooler(*given[0][:3], need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(maps, weights[:, :, 0, 1:])
    assert (maps.amax(dim=-1) > 1.001 * maps.mean(dim=-1)).all()


@pytest.mark.parametrize("family", ["SigLIP"], indirect=True)
def test_attention_maps_are_the_weights_of_siglips_pooler(backbone, pixels):
    trunk = backbone.model.visual.trunk
    maps, tokens, pooler = backbone.attention_maps(pixels), trunk.forward_features(pixels), trunk.attn_pool
    query = pooler.q(pooler.latent)[0, 0]
    for image in range(2):
        for head in range(4):
            part = slice(head * 12, head * 12 + 12)
            keys = [pooler.kv(tokens[image, cell])[:48][part] for cell in range(16)]
            scores = torch.stack([query[part] @ key / 12**0.5 for key in keys])
            torch.testing.assert_close(maps[image, head], scores.exp() / scores.exp().sum())
    assert (maps.amax(dim=-1) > 1.001 * maps.mean(dim=-1)).all()


def test_siglips_bias_moves_every_logit_alike_and_so_no_ranking(tmp_path, unigrams, monkeypatch):
    small = functools.partial(timm.create_model, depth=2, embed_dim=48, num_heads=4, img_size=64)
    monkeypatch.setattr(open_clip.timm_model.timm, "create_model", small)
    settings = copy.deepcopy(open_clip.get_model_config("ViT-B-16-SigLIP")) | {"embed_dim": 48}
    siglip(settings)
    path = tmp_path / "bias-siglip.json"
    path.write_text(json.dumps(settings))
    backbone = load_backbone(
        BackboneConfig(architecture="bias-siglip", definition=str(path), checkpoint=None, tokenizer=str(unigrams))
    )
    pixels = backbone.normalise(torch.randint(0, 256, (3, 3, 64, 64)).to(torch.uint8))
    ids = backbone.tokenize(TEXTS[:3]).ids
    logits, _ = backbone.model.get_logits(pixels, ids)
    cosines = backbone.encode_image(pixels) @ backbone.encode_text(ids).T
    assert backbone.model.logit_bias.item() == -10
    allowed = backbone.logit_scale * close(torch.float32, transformer(48, 2))
    torch.testing.assert_close(logits, backbone.logit_scale * cosines - 10, atol=allowed, rtol=0)
    assert backbone.contract["tokenizer"].startswith("tokenizer.json ")


@pytest.mark.parametrize(
    ("trunk", "register_pooled"), [("test_vit", False), ("test_vit2", False), ("test_vit3", False), ("test_vit3", True)]
)
def test_timm_trunks_with_tokens_before_the_patches(define, trunk, register_pooled):
    """Class token, average with a register, attention pooling that leaves a register out or takes it in."""
    pool = {"test_vit": "token", "test_vit2": "avg", "test_vit3": "map"}[trunk]
    vision = {"timm_model_name": trunk, "timm_pool": pool, "timm_proj": "linear", "image_size": 160}
    model = create_model(*define(f"family-{trunk}", vision=vision), seed=1).eval()
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
    model.visual.trunk.pool_include_prefix = register_pooled
    pixels = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    tower = image_tower(model.visual, trunk)
    with torch.no_grad():
        pooled, patches, _ = tower.read(pixels, tower.readouts)
        tokens = model.visual.trunk.forward_features(pixels)
        cell = tokens[:, 1 + 37 : 1 + 38]
        ignored = torch.full_like(cell, 9.0)  # what stands before the patches, where the pooling leaves that out
        takes_all = pool == "token" or register_pooled
        alone = model.visual.head(
            model.visual.trunk.forward_head(cell if takes_all else torch.cat([ignored, cell], dim=1))
        )
        torch.testing.assert_close(pooled, model.encode_image(pixels), atol=TOWER, rtol=0)
        torch.testing.assert_close(patches["final"][:, 37], alone, atol=TOWER, rtol=0)
        if pool == "avg" and isinstance(model.visual.trunk.fc_norm, torch.nn.Identity):
            torch.testing.assert_close(patches["final"].mean(dim=1), pooled, atol=TOWER, rtol=0)
        maps = tower.attention_maps(pixels)
    assert (tower.grid, {tokens.shape for tokens in patches.values()}) == ((10, 10), {(1, 100, 24)})
    assert (maps is None) == (pool == "avg")
    if maps is not None:
        seen = maps.sum(dim=-1)  # all of it on patches, unless tokens before them are seen too
        assert (maps > 0).all() and (seen <= 1 + close(torch.float32, 100)).all()
        assert torch.allclose(seen, torch.ones(())) == (not takes_all)


def test_the_value_path_of_a_timm_block_is_attention_that_sees_only_itself(define):
    vision = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "linear", "image_size": 160}
    model = create_model(*define("family-value", vision=vision), seed=1).eval()
    trunk, tower = model.visual.trunk, image_tower(model.visual, "family-value")
    block = trunk.blocks[-1]
    with torch.no_grad():
        inside = []
        block.norm1.register_forward_pre_hook(lambda _, arguments: inside.append(arguments[0]))
        patches = tower.read(torch.randn(1, 3, 160, 160), ("value",)).patches["value"]
        tokens = inside[0][:, [5]]
        expected = tower.project(block.ls1(block.attn(block.norm1(tokens))))
    torch.testing.assert_close(patches[:, [4]], expected, atol=TOWER, rtol=0)


def test_a_trunk_of_windows_keeps_its_channels_last(define, monkeypatch):
    small = functools.partial(timm.create_model, depths=(1, 1), num_heads=(1, 2), embed_dim=16, img_size=64)
    monkeypatch.setattr(open_clip.timm_model.timm, "create_model", small)
    settings = {"timm_model_name": "swin_tiny_patch4_window7_224", "timm_proj": "linear", "image_size": 64}
    model = create_model(*define("family-swin", vision=settings), seed=1).eval()
    tower = image_tower(model.visual, "family-swin")
    pixels = torch.randn(2, 3, 64, 64)
    pooled, patches, trunk = tower.read(pixels, ("final",))
    assert (tower.grid, tower.trunk_width, patches["final"].shape) == ((8, 8), 32, (2, 64, 24))
    torch.testing.assert_close(pooled, model.encode_image(pixels), atol=TOWER, rtol=0)
    torch.testing.assert_close(tower.project_trunk(trunk), pooled)
    torch.testing.assert_close(patches["final"].mean(dim=1), pooled, atol=TOWER, rtol=0)
    cell = model.visual.trunk.forward_features(pixels)[:, 1:2, 2:3]
    torch.testing.assert_close(patches["final"][:, 10], model.visual.head(model.visual.trunk.forward_head(cell)))


@pytest.mark.parametrize(
    ("architecture", "parameters", "grid", "dimension", "context"),
    [
        ("ViT-L-14", 427_616_513, (16, 16), 768, 77),
        ("coca_ViT-B-32", 253_560_065, (7, 7), 512, 76),
        ("ViT-B-16-SigLIP", 203_155_970, (14, 14), 768, 64),
    ],
)
def test_the_published_size_has_its_shapes(architecture, parameters, grid, dimension, context):
    with torch.device("meta"):  # sizes without contents
        model = create_model(architecture, device="meta").eval()
        tower, text = image_tower(model.visual, architecture), text_tower(model, architecture)
        output = tower.read(torch.empty(2, 3, 224, 224), tower.readouts)
        pooled, states = text.read(torch.zeros(2, context, dtype=torch.long))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert tower.grid == grid
    assert {patches.shape for patches in output.patches.values()} == {(2, grid[0] * grid[1], dimension)}
    assert output.pooled.shape == pooled.shape == (2, dimension)
    assert states.shape == (2, context, dimension)


def test_a_trunk_without_one_token_a_patch_is_refused_by_name(define):
    vision = {"timm_model_name": "test_vit_relpos", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    with pytest.raises(UserError, match=r"image tower of family-relpos \(TimmModel\) gives no patch embeddings"):
        image_tower(create_model(*define("family-relpos", vision=vision)).visual, "family-relpos")
