"""Reading patches out of one attention layer, whichever library it comes from.

A block's attention is opened into what its heads ask, offer and give (`split`), what becomes of the mixed values
(`join`), and the rest of the block (`finish`). The readouts then are a few lines that no library decides, and the block
itself is run on the same queries, keys and values, so that a readout costs no more than its own last steps.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from open_clip.transformer import AttentionalPooler, ResidualAttentionBlock
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

States = Float[Tensor, "batch token channel"]
Heads = Float[Tensor, "batch head token per_head"]


@runtime_checkable
class AttentionPath(Protocol):
    """The attention of one transformer block, without its residual and feed-forward part."""

    def split(self, states: States) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values of the block's input, by head."""
        ...

    def join(self, mixed: Heads) -> States:
        """The block's output projection of mixed values, with its scale where it has one."""
        ...

    def finish(self, states: States, attended: States) -> States:
        """The block's output, from its input and what its attention gave: residuals and feed-forward part."""
        ...


@dataclass(frozen=True)
class OpenClipPath:
    """The attention of open_clip's plain block."""

    block: ResidualAttentionBlock

    def split(self, states: States) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values, from the block's one input projection."""
        attention = self.block.attn
        normed = self.block.ln_1(states)
        # A baseline may have laid the projections open as linear layers, to put something on them.
        if hasattr(attention, "qkv"):
            mixed = attention.qkv(normed)
        else:
            mixed = functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = (by_head(part, attention.num_heads) for part in mixed.chunk(3, dim=-1))
        return query, key, value

    def join(self, mixed: Heads) -> States:
        """Through `out_proj` and layer scale."""
        return self.block.ls_1(self.block.attn.out_proj(joined(mixed)))

    def finish(self, states: States, attended: States) -> States:
        """Both residuals, around the second norm, the two layers and their scale."""
        states = states + attended
        return states + self.block.ls_2(self.block.mlp(self.block.ln_2(states)))


@dataclass(frozen=True)
class TimmPath:
    """The attention of timm's plain block (`timm.layers.Attention` without a gate)."""

    block: Any

    def split(self, states: States) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values; the first two after their norms, where the block has them."""
        attention = self.block.attn
        parts = attention.qkv(self.block.norm1(states)).chunk(3, dim=-1)
        query, key, value = (by_head(part, attention.num_heads) for part in parts)
        return attention.q_norm(query), attention.k_norm(key), value

    def join(self, mixed: Heads) -> States:
        """Through `norm`, `proj` and layer scale."""
        attention = self.block.attn
        return self.block.ls1(attention.proj(attention.norm(joined(mixed))))

    def finish(self, states: States, attended: States) -> States:
        """Both residuals, around the second norm, the two layers and their scale; the tower is in evaluation mode."""
        states = states + attended
        return states + self.block.ls2(self.block.mlp(self.block.norm2(states)))


def attention_path(block: nn.Module) -> AttentionPath | None:
    """How to open a block's attention; None for variants (rotary positions, gates, several norms)."""
    if type(block) is ResidualAttentionBlock:
        return OpenClipPath(block)
    if type(block) is Block and type(block.attn) is Attention and getattr(block.attn, "gate", None) is None:
        return TimmPath(block)
    return None


def whole_block(path: AttentionPath, states: States, split: tuple[Heads, Heads, Heads]) -> States:
    """The block's output, from its input and the queries, keys and values of that."""
    return path.finish(states, path.join(functional.scaled_dot_product_attention(*split)))


def first_of_block(
    path: AttentionPath, states: States, split: tuple[Heads, Heads, Heads]
) -> Float[Tensor, "batch 1 channel"]:
    """The first token of the block's output alone: what comes after the mixing is worked out for no other."""
    query, key, value = split
    mixed = functional.scaled_dot_product_attention(query[:, :, :1], key, value)
    return path.finish(states[:, :1], path.join(mixed))


def value_path(path: AttentionPath, value: Heads) -> States:
    """The value of each token through the block's output projection, as if every token attended only to itself."""
    return path.join(value)


def self_self_attention(path: AttentionPath, query: Heads, key: Heads, value: Heads) -> States:
    """The block's attention with query-query and key-key weights instead of query-key (SCLIP, equation 5)."""
    weights = sum((part @ part.transpose(-1, -2) * part.shape[-1] ** -0.5).softmax(dim=-1) for part in (query, key))
    return path.join(weights @ value)


def first_token_attention(path: AttentionPath, states: States) -> Float[Tensor, "batch head token"]:
    """The block's attention weights of the first token, by head; over all tokens they sum to 1."""
    query, key, _ = path.split(states)
    return attention_weights(query[:, :, :1], key)


def attention_weights(
    query: Float[Tensor, "batch head 1 per_head"], key: Float[Tensor, "batch head token per_head"]
) -> Float[Tensor, "batch head token"]:
    """Softmax of the scaled products of one query with every key."""
    return (query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5).softmax(dim=-1).squeeze(2)


def pool_alone(pooler: AttentionalPooler, states: States) -> Float[Tensor, "batch token dim"]:
    """What open_clip's attention pooler would give if each token were the only one it sees.

    The weight of a single token is 1 whatever is asked, so this is the pooler's value path (MaskCLIP).
    """
    attention = pooler.attn
    _, _, (weight, bias) = _projections(attention)
    return attention.out_proj(functional.linear(pooler.ln_k(states), weight, bias))


def pooler_attention(pooler: AttentionalPooler, states: States) -> Float[Tensor, "batch head token"]:
    """The attention weights of the pooler's first query, by head; that query gives the pooled embedding."""
    attention = pooler.attn
    (query_weight, query_bias), (key_weight, key_bias), _ = _projections(attention)
    asked = functional.linear(pooler.ln_q(pooler.query[:1]), query_weight, query_bias).expand(len(states), 1, -1)
    key = functional.linear(pooler.ln_k(states), key_weight, key_bias)
    return attention_weights(by_head(asked, attention.num_heads), by_head(key, attention.num_heads))


def by_head(states: States, heads: int) -> Heads:
    """The channels of each head apart."""
    batch, tokens, width = states.shape
    return states.reshape(batch, tokens, heads, width // heads).transpose(1, 2)


def joined(mixed: Heads) -> States:
    """The channels of all heads side by side again."""
    return mixed.transpose(1, 2).flatten(2)


def _projections(attention: nn.MultiheadAttention) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of queries, keys and values, which torch keeps in one tensor where all widths are the same."""
    if attention._qkv_same_embed_dim:
        weights = attention.in_proj_weight.chunk(3)
    else:
        weights = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    return list(zip(weights, attention.in_proj_bias.chunk(3), strict=True))
