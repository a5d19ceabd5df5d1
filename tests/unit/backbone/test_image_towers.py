import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from tolerance import close, transformer
from vialign.backbone import create_model
from vialign.backbone.attention import (
    attention_path,
    first_of_block,
    self_self_attention,
    value_path,
    whole_block,
)
from vialign.backbone.image_towers import image_tower
from vialign.errors import UserError

TOWER = close(torch.float32, transformer(width=32, layers=4))
"""Two ways through the towers of these tests."""

READOUTS = ("final", "value", "self_self", "early")


@pytest.fixture
def model(define):
    return create_model(*define("image-vit"), seed=1).eval()


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_pooled_is_encode_image_whatever_is_read_beside_it(model, pixels):
    tower = image_tower(model.visual, "image-vit")
    assert tower.readouts == READOUTS
    assert tower.grid == (4, 4)
    for readouts in ((), ("final",), ("early", "value"), READOUTS):
        pooled, patches, trunk = tower.read(pixels, readouts)
        assert trunk is None
        torch.testing.assert_close(pooled, model.encode_image(pixels), atol=TOWER, rtol=0)
        assert list(patches) == list(readouts)
        assert all(tokens.shape == (3, 16, 24) for tokens in patches.values())


@pytest.mark.parametrize("readouts", [(), ("value",), ("self_self", "early")])
def test_the_last_block_ends_with_the_class_token_where_no_other_token_is_read(model, pixels, readouts):
    seen = []
    block = model.visual.transformer.resblocks[-1]
    block.mlp.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    image_tower(model.visual, "image-vit").read(pixels, readouts)
    image_tower(model.visual, "image-vit").read(pixels, (*readouts, "final"))
    assert seen == [1, 17]


def test_final_and_early_are_open_clips_own_intermediates_projected(model, pixels):
    visual = model.visual
    patches = image_tower(visual, "image-vit").read(pixels, READOUTS).patches
    visual.output_tokens = True
    _, unprojected = visual(pixels)
    visual.output_tokens = False
    torch.testing.assert_close(patches["final"], unprojected @ visual.proj)
    assert not torch.allclose(patches["final"].norm(dim=-1), unprojected.norm(dim=-1), rtol=0.05)
    between = visual.forward_intermediates(pixels, indices=[2], normalize_intermediates=True, output_fmt="NLC")
    torch.testing.assert_close(patches["early"], between["image_intermediates"][0] @ visual.proj)


def test_value_path_is_attention_that_sees_only_itself():
    torch.manual_seed(0)
    block = ResidualAttentionBlock(16, 4, ls_init_value=0.5).double().eval()
    states = torch.randn(2, 5, 16, dtype=torch.float64)
    inside = block.ln_1(states)
    only_self = torch.full((5, 5), float("-inf"), dtype=torch.float64).fill_diagonal_(0)
    expected = block.attn(inside, inside, inside, attn_mask=only_self, need_weights=False)[0] * 0.5
    path = attention_path(block)
    torch.testing.assert_close(value_path(path, path.split(states)[2]), expected)


def test_an_opened_block_gives_what_the_block_gives():
    torch.manual_seed(2)
    block = ResidualAttentionBlock(16, 4, ls_init_value=0.5).double().eval()
    states = torch.randn(2, 5, 16, dtype=torch.float64)
    path = attention_path(block)
    torch.testing.assert_close(whole_block(path, states, path.split(states)), block(states))
    torch.testing.assert_close(first_of_block(path, states, path.split(states)), block(states)[:, :1])


def test_self_self_attention_equals_the_loop():
    torch.manual_seed(1)
    block = ResidualAttentionBlock(12, 3).double().eval()
    states = torch.randn(2, 4, 12, dtype=torch.float64)
    inside = block.ln_1(states)
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    expected = torch.empty_like(states)
    for image in range(2):
        query, key, value = (
            inside[image] @ weight[i * 12 : i * 12 + 12].T + bias[i * 12 : i * 12 + 12] for i in range(3)
        )
        heads = []
        for head in range(3):
            part = slice(head * 4, head * 4 + 4)
            rows = []
            for token in range(4):
                mixed = 0
                for source in (query[:, part], key[:, part]):
                    scores = torch.stack([source[token] @ source[other] / 2 for other in range(4)])
                    weights = scores.exp() / scores.exp().sum()
                    mixed = mixed + sum(weights[other] * value[other, part] for other in range(4))
                rows.append(mixed)
            heads.append(torch.stack(rows))
        expected[image] = torch.cat(heads, dim=1) @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
    path = attention_path(block)
    torch.testing.assert_close(self_self_attention(path, *path.split(states)), expected)


@pytest.mark.parametrize("readout", READOUTS)
def test_gradients_reach_the_pixels_of_a_frozen_tower(model, pixels, readout):
    model.requires_grad_(False)
    pixels.requires_grad_()
    pooled, patches, _ = image_tower(model.visual, "image-vit").read(pixels, (readout,))
    (patches[readout].square().sum() + pooled.sum()).backward()
    assert (pixels.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_average_pooled_transformers_are_read_too(define, pixels):
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "pool_type": "avg"}
    for late in (False, True):
        name = f"image-average-{late}"
        model = create_model(*define(name, vision=vision | {"final_ln_after_pool": late}), seed=2).eval()
        pooled, patches, _ = image_tower(model.visual, name).read(pixels, ("final", "value"))
        torch.testing.assert_close(pooled, model.encode_image(pixels), atol=TOWER, rtol=0)
        if not late:
            torch.testing.assert_close(pooled, patches["final"].mean(dim=1))


@pytest.mark.parametrize(("trunk", "linear"), [("mobilenetv2_035", True), ("test_convnext", False)])
def test_a_convolutional_trunk_is_read_cell_by_cell(define, trunk, linear):
    vision = {"timm_model_name": trunk, "timm_pool": "avg", "timm_proj": "linear", "timm_proj_bias": True}
    model = create_model(*define(f"image-{trunk}", vision=vision | {"image_size": 96}), seed=1).eval()
    tower = image_tower(model.visual, trunk)
    pixels = torch.randn(2, 3, 96, 96)
    pooled, patches, given = tower.read(pixels, tower.readouts)
    assert (tower.grid, tower.readouts) == ((3, 3), ("final",))
    torch.testing.assert_close(pooled, model.encode_image(pixels), atol=TOWER, rtol=0)
    assert given is not None and given.shape == (2, tower.trunk_width)
    torch.testing.assert_close(given, model.visual.trunk(pixels))
    torch.testing.assert_close(tower.project_trunk(given), pooled)
    if linear:
        cells = model.visual.trunk.forward_features(pixels)
        torch.testing.assert_close(patches["final"], model.visual.head(cells.flatten(2).transpose(1, 2)))
        torch.testing.assert_close(patches["final"].mean(dim=1), pooled, atol=TOWER, rtol=0)
    top_right = model.visual.head(
        model.visual.trunk.forward_head(model.visual.trunk.forward_features(pixels)[:, :, :1, 2:])
    )
    torch.testing.assert_close(patches["final"][:, 2], top_right)


def test_towers_without_patch_embeddings_are_refused_by_name(define):
    resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 8}
    with pytest.raises(UserError, match=r"image tower of image-resnet \(ModifiedResNet\) gives no patch embeddings"):
        image_tower(create_model(*define("image-resnet", vision=resnet)).visual, "image-resnet")
    by_place = {"timm_model_name": "resnet18", "timm_pool": "abs_attn", "timm_proj": "", "image_size": 224}
    with pytest.raises(UserError, match="TimmModel"):
        image_tower(create_model(*define("image-place", vision=by_place)).visual, "image-place")
