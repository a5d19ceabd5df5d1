"""Adapter (Houlsby et al. 2019, arXiv:1902.00751): bottlenecks inside the blocks of both towers.

As published: two bottlenecks a block, one after the attention and one after the feed-forward part, each before the
residual connection, and the block's own layer norms are trained too. The paper draws the bottleneck near the identity;
here its end is exactly zero, so that training starts at the frozen scores.

An image tower without blocks (a timm convolutional trunk) has one bottleneck on the output of its head instead; the
trunk then has nothing to train, and what it gave when the features were extracted is read instead of the pixels.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.methods.baselines.tuned import TunedBackbone, own_parameters
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_SPREAD = 1e-2
"""Standard deviation of the first layer's entries at the start (paper, section 3.6), truncated at two of them."""


class Bottleneck(nn.Module):
    """`x + up(gelu(down(x)))`; `up` starts at zero, so that it starts as the identity.

    Parameters with width w and bottleneck r: 2 w r + r + w.
    """

    def __init__(self, width: int, bottleneck: int, seed: int, name: str) -> None:
        super().__init__()
        start = torch.empty(bottleneck, width)
        stream = torch.Generator().manual_seed(derive_seed(seed, "adapter", name))
        nn.init.trunc_normal_(start, std=_SPREAD, a=-2 * _SPREAD, b=2 * _SPREAD, generator=stream)
        self.down = nn.Parameter(start)
        self.down_bias = nn.Parameter(torch.zeros(bottleneck))
        self.up = nn.Parameter(torch.zeros(width, bottleneck))
        self.up_bias = nn.Parameter(torch.zeros(width))

    def forward(self, states: Float[Tensor, "*items width"]) -> Float[Tensor, "*items width"]:
        """Adapted states."""
        return states + F.linear(F.gelu(F.linear(states, self.down, self.down_bias)), self.up, self.up_bias)


class Adapter(TunedBackbone):
    """A copy of the backbone with bottlenecks in its blocks; they and the blocks' layer norms are trained.

    Trainable parameters, with `reduction` q: a block of width w has the bottleneck r = max(1, w // q) and
    2 (2 w r + r + w) + 4 w parameters; the head of a convolutional trunk, of width D, has 2 D r + r + D.
    """

    name = "adapter"

    def __init__(self, backbone: "Backbone", reduction: int, negative_weight: float, seed: int) -> None:
        super().__init__(backbone, negative_weight)
        for side, blocks in (("image", self.image_blocks()), ("text", self.text_blocks())):
            for depth, block in enumerate(blocks):
                _adapt(block, reduction, seed, f"{side}.{depth}")
        if backbone.trunk_width > 0:
            bottleneck = Bottleneck(backbone.dimension, max(1, backbone.dimension // reduction), seed, "head")
            self.model.visual.head = nn.Sequential(self.model.visual.head, bottleneck)
        self.settle()


def _adapt(block: nn.Module, reduction: int, seed: int, name: str) -> None:
    """Put a bottleneck behind each part of a residual block, and give the block layer norms of its own.

    `ls_1` and `ls_2` are what open_clip's blocks apply to the output of attention and feed-forward part before they
    add it: a scale, or nothing.
    """
    for scale, norm in (("ls_1", "ln_1"), ("ls_2", "ln_2")):
        layer = block.get_submodule(norm)
        own_parameters(layer, ("weight", "bias"))
        width = len(layer.get_parameter("weight"))
        bottleneck = Bottleneck(width, max(1, width // reduction), seed, f"{name}.{scale}")
        setattr(block, scale, nn.Sequential(block.get_submodule(scale), bottleneck))


def build(config: Config, backbone: "Backbone", seed: int) -> Adapter:
    """The method at its start, with the config's size and recipe. Raises UserError for towers of an unknown kind."""
    return Adapter(backbone, config.baselines.adapter_reduction, config.training.negatives, seed)
