"""LoRA (Hu et al. 2021, arXiv:2106.09685) through peft, on the attention projections of both towers.

It trains from pixels and token ids, since its gradient passes through the backbone. An image tower without attention
(a timm convolutional trunk) has its adapters on the linear layers of its head; the trunk then has nothing to train,
so what it gives is computed once a split and kept.
"""

import copy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.baselines.attention import LinearAttention, open_attention
from vialign.errors import UserError
from vialign.objective import Objective, Side, SplitData
from vialign.progress import track
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_TRUNK_BATCH = 64


class Lora(Objective):
    """A copy of the backbone with low-rank adapters; everything else stays frozen."""

    name = "lora"
    needs = frozenset({"pixels", "token_ids"})

    def __init__(self, backbone: "Backbone", rank: int, negative_weight: float, seed: int) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = backbone.logit_scale, negative_weight
        self.backbone = copy.deepcopy(backbone)
        self.model: Any = self.backbone.model
        """open_clip's model, a part of this module; its towers have no common type."""
        self._insert(rank, seed)
        self._trunk_features: WeakKeyDictionary[SplitData, Tensor] = WeakKeyDictionary()

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
        """Whether the image tower is a timm trunk without adapters, followed by a head."""
        trunk = getattr(self.model.visual, "trunk", None)
        return trunk is not None and not any(parameter.requires_grad for parameter in trunk.parameters())

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Embeddings from pixels, or from what the frozen trunk gave."""
        if data.pixels is None:
            raise ValueError("lora needs pixels: load the split with them")
        if not self.trunk_is_frozen:
            return {"pooled": self.backbone.encode_image(self.backbone.normalise(data.pixels[index]))}
        if data not in self._trunk_features:
            self._trunk_features[data] = self._run_trunk(data.pixels)
        return {"pooled": F.normalize(self.model.visual.head(self._trunk_features[data][index]), dim=-1)}

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

    def _run_trunk(self, pixels: Tensor) -> Float[Tensor, "image channel"]:
        parts = track(pixels.split(_TRUNK_BATCH), "lora: frozen image trunk")
        # Also when an evaluation asks first: a later training could not use tensors made in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            return torch.cat([self.model.visual.trunk(self.backbone.normalise(part)) for part in parts])


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
