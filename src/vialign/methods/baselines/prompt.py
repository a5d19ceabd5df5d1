"""Prompt tuning: learned prompt tokens in every block of both towers, the towers themselves frozen.

The image side is VPT-deep (Jia et al. 2022, arXiv:2203.12119): each block sees prompts of its own behind the class
token, and what it makes of them is dropped before the next block puts in its own. The text side does the same behind
the start token, with the start of CoOp's vectors. Prompts carry no position, so the caption's tokens keep theirs and no
caption is cut.

An image tower without blocks (a timm convolutional trunk) has no place for prompts: there the text tower alone is
prompted, and images keep their stored embeddings.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.methods.baselines.coop import SPREAD
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class PromptedBlock(nn.Module):
    """A block that sees prompts behind the first token; its output has none."""

    def __init__(self, block: nn.Module, prompts: Float[Tensor, "prompt width"]) -> None:
        super().__init__()
        self.block = block
        self.prompts = nn.Parameter(prompts)

    def forward(
        self, states: Float[Tensor, "batch token width"], attn_mask: Float[Tensor, "*masks token token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """The block's output for the states, under an additive mask that is widened for the prompts."""
        count = len(self.prompts)
        prompts = self.prompts.expand(len(states), -1, -1)
        longer = torch.cat([states[:, :1], prompts, states[:, 1:]], dim=1)
        changed = self.block(longer, attn_mask=None if attn_mask is None else widen(attn_mask, count))
        return torch.cat([changed[:, :1], changed[:, 1 + count :]], dim=1)


def widen(mask: Float[Tensor, "*masks token token"], count: int) -> Float[Tensor, "*masks longer longer"]:
    """An additive attention mask with `count` more positions behind the first.

    They see and are seen as the first position is; where that does not see the second, so in a causal mask, they are
    causal among themselves too.
    """
    source = torch.arange(mask.shape[-1] + count, device=mask.device).sub(count).clamp_min(0)
    source[0] = 0
    wider = mask[..., source[:, None], source]
    if bool(mask[..., 0, 1].isneginf().all()):
        wider[..., : 1 + count, : 1 + count] += mask.new_full((1 + count, 1 + count), -math.inf).triu(1)
    return wider


class Prompt(TunedBackbone):
    """A copy of the backbone with prompted blocks.

    Trainable parameters: `image_prompts` times the width of each image block, plus `text_prompts` times the width of
    each text block.
    """

    name = "prompt"

    def __init__(
        self, backbone: "Backbone", image_prompts: int, text_prompts: int, negative_weight: float, seed: int
    ) -> None:
        super().__init__(backbone, negative_weight)
        stream = torch.Generator().manual_seed(derive_seed(seed, "prompt"))
        blocks = self.image_blocks()
        for depth, block in enumerate(blocks):
            patch = 3 * math.prod(self.model.visual.patch_size)
            width = self.model.visual.positional_embedding.shape[-1]
            bound = math.sqrt(6 / (patch + width))  # VPT's code: Xavier's bound for the patch embedding
            start = torch.empty(image_prompts, width).uniform_(-bound, bound, generator=stream)
            blocks[depth] = PromptedBlock(block, start)
        blocks = self.text_blocks()
        for depth, block in enumerate(blocks):
            width = self.text_tower.owner.token_embedding.embedding_dim
            start = SPREAD * torch.randn(text_prompts, width, generator=stream)
            blocks[depth] = PromptedBlock(block, start)
        self.settle()


def build(config: Config, backbone: "Backbone", seed: int) -> Prompt:
    """The method at its start, with the config's sizes and recipe. Raises UserError for towers of an unknown kind."""
    sizes = config.baselines
    return Prompt(backbone, sizes.image_prompts, sizes.text_prompts, config.training.negatives, seed)
