"""Multi-head self-attention with its projections as plain linear layers, so that adapters can be put on them.

`nn.MultiheadAttention` holds its input projection as a bare parameter and never calls its output projection's
`forward`. peft therefore merges an adapter into the weights before each pass and subtracts it afterwards, which changes
the frozen weights by rounding at every step (a resumed run would differ from an uninterrupted one) and fails under
`torch.inference_mode`. With linear layers the adapter is a sum of two products and nothing is merged.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class LinearAttention(nn.Module):
    """The self-attention of an `nn.MultiheadAttention`, with its weights and its call signature."""

    def __init__(self, source: nn.MultiheadAttention) -> None:
        super().__init__()
        if not source._qkv_same_embed_dim or source.bias_k is not None or source.add_zero_attn or source.dropout:
            raise ValueError("LinearAttention: needs self-attention without dropout and without extra keys")
        width = source.embed_dim
        self.num_heads, self.batch_first = source.num_heads, source.batch_first
        biased = source.in_proj_bias is not None
        # Made without memory and without drawing random numbers: all parameters are those of `source`.
        self.qkv = nn.Linear(width, 3 * width, bias=biased, device="meta")
        self.qkv.weight = source.in_proj_weight
        self.out = nn.Linear(width, width, bias=biased, device="meta")
        self.out.weight = source.out_proj.weight
        if biased:
            self.qkv.bias, self.out.bias = source.in_proj_bias, source.out_proj.bias

    @property
    def out_proj(self) -> nn.Module:
        """The output projection by the name that `nn.MultiheadAttention` has for it."""
        return self.out

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Attend; `attn_mask` is additive, for all or (batch x head, query, key) as torch takes it.

        Raises ValueError when asked for cross-attention or for the weights.
        """
        if key is not query or value is not query or need_weights:
            raise ValueError("LinearAttention: only self-attention without returned weights")
        states = query if self.batch_first else query.transpose(0, 1)
        batch, length, width = states.shape
        parts = self.qkv(states).view(batch, length, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.view(batch, self.num_heads, length, length)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=attn_mask)
        result = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return (result if self.batch_first else result.transpose(0, 1)), None

    def closed(self) -> nn.MultiheadAttention:
        """torch's attention with the weights as they are now. Raises ValueError where a projection was replaced."""
        width = self.out.in_features
        if type(self.qkv) is not nn.Linear or type(self.out) is not nn.Linear:
            raise ValueError("LinearAttention: a projection is no plain linear layer; merge what was put on it first")
        biased = self.qkv.bias is not None
        made = nn.MultiheadAttention(width, self.num_heads, bias=biased, batch_first=self.batch_first, device="meta")
        parameters = {"in_proj_weight": self.qkv.weight, "in_proj_bias": self.qkv.bias}
        for name, parameter in parameters.items():
            setattr(made, name, parameter)
        made.out_proj.weight, made.out_proj.bias = self.out.weight, self.out.bias
        return made.train(self.training)


def close_attention(module: nn.Module) -> None:
    """Replace every `LinearAttention` inside `module` by torch's own again, in place."""
    for name, child in module.named_children():
        if isinstance(child, LinearAttention):
            setattr(module, name, child.closed())
        else:
            close_attention(child)


def open_attention(module: nn.Module) -> None:
    """Replace every self-attention inside `module` by its `LinearAttention`, in place.

    CoCa's attention pooling is left alone: it asks with learned queries, not with tokens.
    """
    from vialign.backbone.attention import AttentionalPooler

    if isinstance(module, AttentionalPooler):
        return
    for name, child in module.named_children():
        if isinstance(child, nn.MultiheadAttention):
            setattr(module, name, LinearAttention(child))
        else:
            open_attention(child)
