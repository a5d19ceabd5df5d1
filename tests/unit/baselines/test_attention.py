import pytest
import torch
from torch import nn

from vialign.methods.baselines.attention import LinearAttention, open_attention


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_attention_it_replaces(batch_first, bias):
    torch.manual_seed(0)
    source = nn.MultiheadAttention(12, 3, batch_first=batch_first, bias=bias).double()
    states = torch.randn(2, 5, 12, dtype=torch.float64)
    states = states if batch_first else states.transpose(0, 1)
    mask = torch.full((5, 5), float("-inf"), dtype=torch.float64).triu(1)
    by_head = torch.stack([mask, mask.T, mask, mask, mask.T, mask])  # (batch x head, query, key)
    for attn_mask in (None, mask, by_head):
        expected = source(states, states, states, need_weights=False, attn_mask=attn_mask)[0]
        found = LinearAttention(source)(states, states, states, need_weights=False, attn_mask=attn_mask)[0]
        torch.testing.assert_close(found, expected)


def test_the_causal_mask_matters():
    module = LinearAttention(nn.MultiheadAttention(12, 3, batch_first=True))
    states = torch.randn(2, 5, 12)
    mask = torch.full((5, 5), float("-inf")).triu(1)
    free, masked = module(states, states, states)[0], module(states, states, states, attn_mask=mask)[0]
    assert float((free - masked).abs().max().detach()) > 1e-3


def test_what_it_cannot_do_is_an_error():
    module = LinearAttention(nn.MultiheadAttention(12, 3, batch_first=True))
    states, other = torch.randn(2, 2, 5, 12)
    with pytest.raises(ValueError, match="self-attention"):
        module(states, other, other)
    with pytest.raises(ValueError, match="self-attention"):
        LinearAttention(nn.MultiheadAttention(12, 3, dropout=0.1))


def test_every_attention_in_a_model_is_opened():
    layer = nn.TransformerEncoderLayer(12, 3, dim_feedforward=8, dropout=0.0)
    model = nn.Sequential(nn.Sequential(layer), nn.MultiheadAttention(12, 3))
    open_attention(model)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(LinearAttention) == 2 and nn.MultiheadAttention not in kinds
