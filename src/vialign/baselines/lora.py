"""LoRA (Hu et al. 2021, arXiv:2106.09685) through peft, on the attention projections of both towers.

It trains from pixels and token ids, since its gradient passes through the backbone. An image tower without attention
(a timm convolutional trunk) has its adapters on the linear layers of its head; the trunk then has nothing to train,
and what it gave when the features were extracted is read instead of the pixels.
"""

import copy
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.baselines.attention import LinearAttention, open_attention
from vialign.errors import UserError
from vialign.objective import Objective, Side, SplitData
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class Lora(Objective):
    """A copy of the backbone with low-rank adapters; everything else stays frozen."""

    name = "lora"

    def __init__(self, backbone: "Backbone", rank: int, negative_weight: float, seed: int) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = backbone.logit_scale, negative_weight
        self.backbone = copy.deepcopy(backbone)
        self.model: Any = self.backbone.model
        """open_clip's model, a part of this module; its towers have no common type."""
        self._insert(rank, seed)
        self.needs = frozenset({"trunk" if self.trunk_is_frozen else "pixels", "token_ids"})

    def _insert(self, rank: int, seed: int) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        open_attention(self.model)
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=adapted_layers(self.model))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "lora"))
            inject_adapter_in_model(settings, self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        self.model.eval()

    def train(self, mode: bool = True) -> "Lora":
        """Adapters train; the frozen layers keep the statistics and behaviour of evaluation."""
        super().train(mode)
        self.model.eval()
        return self

    @property
    def trunk_is_frozen(self) -> bool:
        """Whether the image tower is a convolutional trunk without adapters, followed by a head."""
        if self.backbone.trunk_width == 0:
            return False
        return not any(parameter.requires_grad for parameter in self.model.visual.trunk.parameters())

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Embeddings from what the frozen trunk gave, or from pixels."""
        if data.trunk is not None and self.trunk_is_frozen:
            return {"pooled": self.backbone.encode_trunk(data.trunk[index])}
        if data.pixels is None:
            raise ValueError("lora needs pixels, or the output of a frozen trunk: load the split with them")
        return {"pooled": self.backbone.encode_image(self.backbone.normalise(data.pixels[index]))}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Embeddings from token ids."""
        if data.token_ids is None:
            raise ValueError("lora needs token ids: load the split with them")
        return {"pooled": self.backbone.encode_text(data.token_ids[index])}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Cosines of all pairs."""
        return images["pooled"] @ texts["pooled"].T

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Cosines of aligned pairs."""
        return (images["pooled"] * texts["pooled"]).sum(dim=-1)


def adapted_layers(model: nn.Module) -> list[str]:
    """Full names of the linear layers that get an adapter: attention projections, else the image head's layers.

    Raises UserError when a tower has neither.
    """
    attention = [
        name
        for name, module in model.named_modules()
        if isinstance(module, LinearAttention) or (hasattr(module, "qkv") and hasattr(module, "proj"))
    ]
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(name.startswith(f"{block}.") for block in attention)
    ]
    image = [name for name in layers if name.startswith("visual.")]
    text = [name for name in layers if not name.startswith("visual.")]
    if not image:
        image = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith("visual.head")
        ]
    if not image or not text:
        tower = "text" if image else "image"
        raise UserError(
            f"lora: the {tower} tower has no attention and no linear head to adapt; remove lora from methods"
        )
    return image + text
