"""Pooled embedding and patch tokens of open_clip's image towers, from one forward pass.

Every readout ends in the joint space: for a vision transformer through `ln_post` and `visual.proj`, for a
convolutional timm trunk through the tower's own pooling head, patch by patch.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from vialign.errors import UserError

Pixels = Float[Tensor, "batch 3 height width"]
Pooled = Float[Tensor, "batch dim"]
Patches = Float[Tensor, "batch patch dim"]
Trunk = Float[Tensor, "batch channel"]


class TowerOutput(NamedTuple):
    """What one forward pass gives."""

    pooled: Pooled
    patches: dict[str, Patches]
    """By readout; not normalised."""
    trunk: Trunk | None
    """What a convolutional trunk hands to its head; None where the tower has no such cut."""


@runtime_checkable
class ImageTower(Protocol):
    """Reads one kind of image tower."""

    grid: tuple[int, int]
    """Rows and columns of the patch grid."""
    readouts: tuple[str, ...]
    """The readouts that the tower offers."""
    trunk_width: int
    """Channels of the trunk's output; 0 where the tower has no such cut."""

    def read(self, pixels: Pixels, readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings (not normalised, as `encode_image` gives them) and the patches of each readout."""
        ...

    def project_trunk(self, trunk: Trunk) -> Pooled:
        """The pooled embeddings, not normalised, that the head makes of the trunk's output."""
        ...


def image_tower(visual: nn.Module, architecture: str) -> ImageTower:
    """The reader for open_clip's `model.visual`.

    Raises UserError for towers without one embedding a patch (attention pooling, ResNet, timm token trunks).
    """
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type in ("tok", "avg"):
        return TransformerTower(visual)
    if isinstance(visual, TimmModel) and not hasattr(visual.head, "pool"):
        tower = ConvolutionalTower(visual)
        if tower.grid != (0, 0):
            return tower
    raise UserError(
        f"backbone.architecture: the image tower of {architecture} ({type(visual).__name__}) gives no patch embeddings "
        "that vialign can read; use a ViT with token or average pooling, or a convolutional timm trunk"
    )


class TransformerTower:
    """A vision transformer with a class token.

    Readouts, x being the input of the last block and the joint space reached by `ln_post` and `proj`:

    - `final`: the output of the last block.
    - `value`: `out_proj(v(ln_1 x))`, the value path of the last attention without its mixing, residual and
      feed-forward part (MaskCLIP, Zhou et al. 2022; leaving out the residual: ClearCLIP, Lan et al. 2024).
    - `self_self`: the last attention with `softmax(q qᵀ) + softmax(k kᵀ)` for weights (SCLIP, Wang et al. 2024), again
      without residual and feed-forward part (ClearCLIP).
    - `early`: the output after three quarters of the blocks (rounded; always before the last block).
    """

    trunk_width = 0

    def __init__(self, visual: VisionTransformer) -> None:
        self.visual = visual
        self.grid: tuple[int, int] = tuple(visual.grid_size)
        depth = len(visual.transformer.resblocks)
        self.early_depth = min(round(0.75 * depth), depth - 1)
        readouts = ["final"]
        if isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock):
            readouts += ["value", "self_self"]
        if self.early_depth > 0:
            readouts.append("early")
        self.readouts = tuple(readouts)

    def read(self, pixels: Pixels, readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings and the patches of each readout, from one pass through the blocks."""
        visual = self.visual
        blocks = visual.transformer.resblocks
        states = visual._embeds(pixels)
        tokens = {}
        for depth, block in enumerate(blocks):
            if depth == self.early_depth and "early" in readouts:
                tokens["early"] = states
            if depth == len(blocks) - 1:
                if "value" in readouts:
                    tokens["value"] = value_path(block, states)
                if "self_self" in readouts:
                    tokens["self_self"] = self_self_attention(block, states)
            states = block(states)
        if "final" in readouts:
            tokens["final"] = states
        pooled, _ = visual._pool(states)
        patches = {name: self._project(visual.ln_post(tokens[name][:, 1:])) for name in dict.fromkeys(readouts)}
        return TowerOutput(self._project(pooled), patches, None)

    def project_trunk(self, trunk: Trunk) -> Pooled:
        """Not possible: every block of a transformer may be adapted. Raises ValueError."""
        raise ValueError("a vision transformer has no trunk before a head")

    def _project(self, states: Tensor) -> Tensor:
        return states if self.visual.proj is None else states @ self.visual.proj


class ConvolutionalTower:
    """A timm trunk that ends in a feature map; its only readout is `final`.

    Each cell of the map goes through the trunk's pooling (the identity on a single cell) and norm, and then through
    open_clip's projection. With plain average pooling the pooled embedding is the mean of the patches.
    """

    def __init__(self, visual: TimmModel) -> None:
        self.visual = visual
        parameter = next(visual.parameters())
        height, width = visual.image_size
        mode = visual.training
        with torch.no_grad():
            cells = visual.eval().trunk.forward_features(torch.zeros(1, 3, height, width).to(parameter))
        visual.train(mode)
        self.grid = (cells.shape[2], cells.shape[3]) if cells.ndim == 4 else (0, 0)
        self.readouts: tuple[str, ...] = ("final",)
        with torch.no_grad():
            self.trunk_width: int = visual.trunk.forward_head(cells).shape[-1] if cells.ndim == 4 else 0

    def read(self, pixels: Pixels, readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings and, where asked for, the projected cells of the feature map in row-major order."""
        cells = self.visual.trunk.forward_features(pixels)
        trunk = self.visual.trunk.forward_head(cells)
        pooled = self.project_trunk(trunk)
        if not readouts:
            return TowerOutput(pooled, {}, trunk)
        batch, channels, rows, columns = cells.shape
        single = cells.permute(0, 2, 3, 1).reshape(batch * rows * columns, channels, 1, 1)
        patches = self.project_trunk(self.visual.trunk.forward_head(single)).reshape(batch, rows * columns, -1)
        return TowerOutput(pooled, {"final": patches}, trunk)

    def project_trunk(self, trunk: Trunk) -> Pooled:
        """open_clip's projection head."""
        return self.visual.head(trunk)


def value_path(
    block: ResidualAttentionBlock, states: Float[Tensor, "batch token width"]
) -> Float[Tensor, "batch token width"]:
    """The value of each token through the block's output projection, as if every token attended only to itself."""
    attention, width = block.attn, states.shape[-1]
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    return block.ls_1(attention.out_proj(functional.linear(block.ln_1(states), weight, bias)))


def self_self_attention(
    block: ResidualAttentionBlock, states: Float[Tensor, "batch token width"]
) -> Float[Tensor, "batch token width"]:
    """The block's attention with query-query and key-key weights instead of query-key (SCLIP, equation 5)."""
    batch, tokens, width = states.shape
    heads = block.attn.num_heads
    query, key, value = (
        part.reshape(batch, tokens, heads, width // heads).transpose(1, 2) for part in _query_key_value(block, states)
    )
    scale = (width // heads) ** -0.5
    weights = sum((scale * part @ part.transpose(-1, -2)).softmax(dim=-1) for part in (query, key))
    mixed = (weights @ value).transpose(1, 2).reshape(batch, tokens, width)
    return block.ls_1(block.attn.out_proj(mixed))


def _query_key_value(block: ResidualAttentionBlock, states: Tensor) -> tuple[Tensor, ...]:
    attention = block.attn
    return functional.linear(block.ln_1(states), attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
