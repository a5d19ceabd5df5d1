"""Attention of the pooled token, against a softmax by hand and against torch's own weights in open_clip's own pass."""

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

from vialign.backbone import create_model
from vialign.backbone.attention import attention_path, first_token_attention
from vialign.backbone.image_towers import image_tower

VISION = {"image_size": 32, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8}


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_attention_of_the_first_token_equals_the_loop():
    torch.manual_seed(1)
    block = ResidualAttentionBlock(12, 3).double().eval()
    states = torch.randn(2, 5, 12, dtype=torch.float64)
    inside = block.ln_1(states)
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    found = first_token_attention(attention_path(block), states)
    assert found.shape == (2, 3, 5)
    for image in range(2):
        query = weight[:12] @ inside[image, 0] + bias[:12]
        keys = [weight[12:24] @ inside[image, token] + bias[12:24] for token in range(5)]
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            scores = torch.stack([(query[part] * key[part]).sum() / 2 for key in keys])
            torch.testing.assert_close(found[image, head], scores.exp() / scores.exp().sum())


def test_maps_are_the_weights_of_open_clips_own_pass(define, pixels):
    model = create_model(*define("attention-vit", vision=VISION), seed=1).eval()
    given = []
    last = model.visual.transformer.resblocks[-1].attn
    last.register_forward_pre_hook(lambda _, arguments, named: given.append(arguments[0]), with_kwargs=True)
    maps = image_tower(model.visual, "attention-vit").attention_maps(pixels)
    model.encode_image(pixels)
    assert len(given) == 1  # reading the maps stops before the last attention
    _, weights = last(*given * 3, need_weights=True, average_attn_weights=False)
    assert maps is not None and maps.shape == (3, 4, 16)
    torch.testing.assert_close(maps, weights[:, :, 0, 1:])
    torch.testing.assert_close(maps.sum(dim=-1) + weights[:, :, 0, 0], torch.ones(3, 4))
    assert (maps.amax(dim=-1) > 1.01 * maps.mean(dim=-1)).all()


def test_towers_without_a_pooled_token_have_no_maps(define, pixels):
    average = create_model(*define("attention-average", vision=VISION | {"pool_type": "avg"})).eval()
    assert image_tower(average.visual, "attention-average").attention_maps(pixels) is None
    trunk = {"timm_model_name": "mobilenetv2_035", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32}
    convolution = create_model(*define("attention-trunk", vision=trunk)).eval()
    assert image_tower(convolution.visual, "attention-trunk").attention_maps(pixels) is None
