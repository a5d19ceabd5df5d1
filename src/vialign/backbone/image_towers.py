"""Pooled embedding and patch tokens of image towers, from one forward pass.

Every readout ends in the joint space, by the way that the pooled embedding takes from the last block on: norm,
pooling as if the patch were the only one, projection. For a vision transformer with a class token that is `ln_post` and
`visual.proj`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import AttentionPoolLatent
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn

from vialign.backbone.attention import (
    AttentionPath,
    States,
    attention_path,
    attention_weights,
    by_head,
    first_of_block,
    first_token_attention,
    pool_alone,
    pooler_attention,
    self_self_attention,
    value_path,
    whole_block,
)
from vialign.errors import UserError

Pixels = Float[Tensor, "batch 3 height width"]
Pooled = Float[Tensor, "batch dim"]
Patches = Float[Tensor, "batch patch dim"]
Trunk = Float[Tensor, "batch channel"]
AttentionMaps = Float[Tensor, "batch head patch"]


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

    def attention_maps(self, pixels: Pixels) -> AttentionMaps | None:
        """Attention of the pooled token to every patch, by head; None where no token pools by attention."""
        ...


def image_tower(visual: nn.Module, architecture: str) -> ImageTower:
    """The reader for open_clip's `model.visual`.

    Raises UserError for towers without one embedding a patch (ResNets, pooling by position, untried poolings).
    """
    if isinstance(visual, VisionTransformer) and visual.pool_type in ("tok", "avg"):
        return OpenClipTower(visual)
    if isinstance(visual, TimmModel) and not hasattr(visual.head, "pool"):
        if TimmTower.reads(visual.trunk):
            return TimmTower(visual)
        convolutional = ConvolutionalTower(visual)
        if convolutional.grid != (0, 0):
            return convolutional
    raise UserError(
        f"backbone.architecture: the image tower of {architecture} ({type(visual).__name__}) gives no patch embeddings "
        "that vialign can read; use a vision transformer of open_clip or timm, or a convolutional timm trunk"
    )


class TransformerTower(ABC):
    """A vision transformer of any library.

    Readouts, x being the input of the last block:

    - `final`: the output of the last block.
    - `value`: `out_proj(v(ln_1 x))`, the value path of the last attention without its mixing, residual and
      feed-forward part (MaskCLIP, Zhou et al. 2022; leaving out the residual: ClearCLIP, Lan et al. 2024).
    - `self_self`: the last attention with `softmax(q qᵀ) + softmax(k kᵀ)` for weights (SCLIP, Wang et al. 2024), again
      without residual and feed-forward part (ClearCLIP).
    - `early`: the output after three quarters of the blocks (rounded; always before the last block).
    """

    trunk_width = 0
    pools_first = False
    """Whether the pooled embedding is that of the first token alone."""

    def __init__(self, grid: tuple[int, int], depth: int, prefix: int, path: AttentionPath | None) -> None:
        self.grid = grid
        self.depth, self.prefix, self.path = depth, prefix, path
        self.early_depth = min(round(0.75 * depth), depth - 1)
        readouts = ["final"]
        if path is not None:
            readouts += ["value", "self_self"]
        if self.early_depth > 0:
            readouts.append("early")
        self.readouts = tuple(readouts)

    def current_path(self) -> AttentionPath | None:
        """How to open the last block as it is now: a tuned copy of the tower may have changed it."""
        return self.path

    @abstractmethod
    def states(self, pixels: Pixels, depths: Sequence[int]) -> list[States]:
        """Class token (or other tokens before the patches) and patches after so many blocks, before the last norm."""

    @abstractmethod
    def pool(self, states: States) -> Pooled:
        """The pooled embeddings that the tower makes of its last block's output."""

    @abstractmethod
    def project(self, patches: States) -> Patches:
        """Each patch in the joint space, as if the pooling saw nothing else."""

    def read(self, pixels: Pixels, readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings and the patches of each readout, from one pass through the blocks.

        A readout from inside the last attention shares its queries, keys and values with the block itself. Tokens whose
        output nobody reads go no further than these.
        """
        path = self.current_path()
        inside = any(name in ("value", "self_self") for name in readouts)
        # Where the first token alone is pooled and nobody asks for the others, the last block ends with it.
        alone = self.pools_first and path is not None and "final" not in readouts
        depths = {"before" if inside or alone else "final": self.depth - (inside or alone)}
        if "early" in readouts:
            depths["early"] = self.early_depth
        tokens = dict(zip(depths, self.states(pixels, list(depths.values())), strict=True))
        seen = {name: tokens[name][:, self.prefix :] for name in tokens}
        if "before" in tokens and path is not None:
            split = path.split(tokens["before"])
            ended = first_of_block if alone else whole_block
            tokens["final"] = ended(path, tokens["before"], split)
            seen["final"] = tokens["final"][:, self.prefix :]
            if "value" in readouts:
                seen["value"] = value_path(path, split[2][:, :, self.prefix :])
            if "self_self" in readouts:
                seen["self_self"] = self_self_attention(path, *split)[:, self.prefix :]
        patches = {name: self.project(seen[name]) for name in dict.fromkeys(readouts)}
        return TowerOutput(self.pool(tokens["final"]), patches, None)

    def project_trunk(self, trunk: Trunk) -> Pooled:
        """Not possible: every block of a transformer may be adapted. Raises ValueError."""
        raise ValueError("a vision transformer has no trunk before a head")

    def first_token_maps(self, pixels: Pixels) -> AttentionMaps | None:
        """Attention of the first token in the last block; None where the block is a variant."""
        if self.path is None:
            return None
        (states,) = self.states(pixels, [self.depth - 1])
        return first_token_attention(self.path, states)[..., self.prefix :]


class OpenClipTower(TransformerTower):
    """open_clip's own vision transformer: class token, average, or CoCa's attention pooling."""

    def __init__(self, visual: VisionTransformer) -> None:
        blocks = visual.transformer.resblocks
        super().__init__(tuple(visual.grid_size), len(blocks), 1, attention_path(blocks[-1]))
        self.visual = visual
        self.pools_first = visual.pool_type == "tok" and visual.attn_pool is None

    def current_path(self) -> AttentionPath | None:
        """How to open the last block, unless it was replaced by one of another kind."""
        return attention_path(self.visual.transformer.resblocks[-1])

    def states(self, pixels: Pixels, depths: Sequence[int]) -> list[States]:
        """After `depths` blocks each."""
        found = {}
        states = self.visual._embeds(pixels)
        for depth, block in enumerate(self.visual.transformer.resblocks[: max(depths)]):
            found[depth] = states
            states = block(states)
        found[max(depths)] = states
        return [found[depth] for depth in depths]

    def pool(self, states: States) -> Pooled:
        """open_clip's pooling and projection."""
        pooled, _ = self.visual._pool(states)
        return self._joint(pooled)

    def project(self, patches: States) -> Patches:
        """Through the attention pooler where there is one, then `ln_post` and `proj`."""
        pooler = self.visual.attn_pool
        return self._joint(self.visual.ln_post(patches if pooler is None else pool_alone(pooler, patches)))

    def attention_maps(self, pixels: Pixels) -> AttentionMaps | None:
        """Of the class token in the last block, or of the attention pooler; None where patches are averaged."""
        if self.visual.pool_type != "tok":
            return None
        if self.visual.attn_pool is None:
            return self.first_token_maps(pixels)
        (states,) = self.states(pixels, [self.depth])
        return pooler_attention(self.visual.attn_pool, states)[..., self.prefix :]

    def _joint(self, states: Tensor) -> Tensor:
        return states if self.visual.proj is None else states @ self.visual.proj


class TimmTower(TransformerTower):
    """A vision transformer of timm inside open_clip's adapter: SigLIP's attention pooling, class token, or average.

    EVA's blocks turn their queries by position, so only `final` and `early` are read from them.
    """

    def __init__(self, visual: TimmModel) -> None:
        trunk = visual.trunk
        path = attention_path(trunk.blocks[-1]) if len(trunk.blocks) > 1 else None
        grid = tuple(trunk.patch_embed.dynamic_feat_size(visual.image_size))
        super().__init__(grid, len(trunk.blocks), trunk.num_prefix_tokens, path)
        self.visual = visual
        self.pools_first = trunk.attn_pool is None and trunk.global_pool == "token"

    @staticmethod
    def reads(trunk: nn.Module) -> bool:
        """Whether this is a trunk that keeps one token a patch and pools without looking at positions."""
        if not isinstance(trunk, TimmTransformer | Eva):
            return False
        pooler = trunk.attn_pool
        if pooler is None:
            return trunk.global_pool in ("token", "avg", "avgmax", "max")
        return type(pooler) is AttentionPoolLatent and pooler.pos_embed is None and pooler.latent_len == 1

    def states(self, pixels: Pixels, depths: Sequence[int]) -> list[States]:
        """After `depths` blocks each, all of them at least 1."""
        order = sorted({depth - 1 for depth in depths})
        kept = self.visual.trunk.forward_intermediates(
            pixels,
            indices=order,
            return_prefix_tokens=self.prefix > 0,
            output_fmt="NLC",
            intermediates_only=True,
            stop_early=True,
        )
        whole = [torch.cat([part[1], part[0]], dim=1) if isinstance(part, tuple) else part for part in kept]
        return [whole[order.index(depth - 1)] for depth in depths]

    def pool(self, states: States) -> Pooled:
        """timm's norm and pooling, open_clip's head."""
        trunk = self.visual.trunk
        return self.visual.head(trunk.forward_head(trunk.norm(states)))

    def project(self, patches: States) -> Patches:
        """As `pool`, on a sequence of nothing but copies of the patch, whose mean and whose attention are the patch."""
        batch, count, width = patches.shape
        alone = patches.reshape(batch * count, 1, width).expand(-1, 1 + self.prefix, -1)
        return self.pool(alone).reshape(batch, count, -1)

    def attention_maps(self, pixels: Pixels) -> AttentionMaps | None:
        """Of the attention pooler or the class token in the last block; None where patches are averaged."""
        trunk = self.visual.trunk
        pooler = trunk.attn_pool
        if pooler is None:
            return self.first_token_maps(pixels) if trunk.global_pool == "token" else None
        (states,) = self.states(pixels, [self.depth])
        seen = trunk.norm(states)[:, 0 if self._pools_prefix else self.prefix :]
        key, _ = pooler.kv(seen).chunk(2, dim=-1)
        query = by_head(pooler.q(pooler.latent).expand(len(states), 1, -1), pooler.num_heads)
        weights = attention_weights(pooler.q_norm(query), pooler.k_norm(by_head(key, pooler.num_heads)))
        return weights[..., self.prefix if self._pools_prefix else 0 :]

    @property
    def _pools_prefix(self) -> bool:
        """Whether attention pooling also sees the tokens before the patches; EVA's always does."""
        return isinstance(self.visual.trunk, Eva) or self.visual.trunk.pool_include_prefix


class ConvolutionalTower:
    """A timm trunk that ends in a feature map (convolutional, or Swin's windows); its only readout is `final`.

    Each cell of the map goes through the trunk's pooling (the identity on a single cell) and norm, and then through
    open_clip's projection. With plain average pooling the pooled embedding is the mean of the patches.
    """

    def __init__(self, visual: TimmModel) -> None:
        self.visual = visual
        self.channels_last = getattr(visual.trunk, "output_fmt", "NCHW") == "NHWC"
        parameter = next(visual.parameters())
        height, width = visual.image_size
        mode = visual.training
        with torch.no_grad():
            cells = visual.eval().trunk.forward_features(torch.zeros(1, 3, height, width).to(parameter))
        visual.train(mode)
        self.grid = (0, 0) if cells.ndim != 4 else tuple(cells.shape[1:3] if self.channels_last else cells.shape[2:])
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
        rows = (cells if self.channels_last else cells.permute(0, 2, 3, 1)).flatten(0, 2)
        single = rows[:, None, None, :] if self.channels_last else rows[:, :, None, None]
        patches = self.project_trunk(self.visual.trunk.forward_head(single)).reshape(len(pixels), -1, pooled.shape[-1])
        return TowerOutput(pooled, {"final": patches}, trunk)

    def project_trunk(self, trunk: Trunk) -> Pooled:
        """open_clip's projection head."""
        return self.visual.head(trunk)

    def attention_maps(self, pixels: Pixels) -> None:
        """None: every cell has the same share of the pooled embedding."""
