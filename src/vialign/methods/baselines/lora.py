"""LoRA (Hu et al. 2021, arXiv:2106.09685) through peft, on the attention projections of both towers.

It trains from pixels and token ids, since its gradient passes through the backbone. An image tower without attention
(a timm convolutional trunk) has its adapters on the linear layers of its head; the trunk then has nothing to train,
and what it gave when the features were extracted is read instead of the pixels.
"""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vialign.config.experiment import Config
from vialign.errors import UserError, require
from vialign.methods.baselines.attention import close_attention, open_attention
from vialign.methods.baselines.tuned import TunedBackbone, own_parameters
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class Lora(TunedBackbone):
    """A copy of the backbone with low-rank adapters; everything else stays frozen.

    Trainable parameters with rank r: r (inputs + outputs) for each adapted layer; in an attention of width w these are
    the joint query, key and value projection (w to 3 w) and the output projection (w to w), together 6 r w.
    """

    name = "lora"

    def __init__(self, backbone: "Backbone", rank: int, negative_weight: float, seed: int) -> None:
        super().__init__(backbone, negative_weight)
        self._insert(rank, seed)
        self.settle()

    def _insert(self, rank: int, seed: int) -> None:
        require("peft", "baselines", "lora")
        from peft import LoraConfig, inject_adapter_in_model

        open_attention(self.model)
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=adapted_layers(self.model))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "lora"))
            inject_adapter_in_model(settings, self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in name)

    def merged(self) -> "Lora":
        """A copy with the adapters added to the weights that they change, which costs what the backbone costs.

        The same scores but for rounding. Weights without an adapter are shared with this method.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        adapted = [part for part in self.model.modules() if isinstance(part, BaseTunerLayer)]
        changed = {id(parameter) for part in adapted for parameter in part.parameters()}
        tokenizer = getattr(self.backbone, "tokenizer", None)
        kept: list[Any] = [*self.model.parameters(), *self.model.buffers(), tokenizer]
        result = copy.deepcopy(self, {id(part): part for part in kept if id(part) not in changed})
        names = [name for name, part in result.model.named_modules() if isinstance(part, BaseTunerLayer)]
        for name in names:
            parent, _, last = name.rpartition(".")
            layer = result.model.get_submodule(name)
            layer.merge()
            base = layer.get_base_layer()
            own_parameters(base, [own for own, _ in base.named_parameters(recurse=False)])
            setattr(result.model.get_submodule(parent), last, base.requires_grad_(False))
        close_attention(result.model)
        return result


def build(config: Config, backbone: "Backbone", seed: int) -> Lora:
    """The method at its start, with the config's rank and recipe. Raises UserError as `adapted_layers`, and
    where peft is not installed.
    """
    return Lora(backbone, config.training.lora_rank, config.training.negatives, seed)


def adapted_layers(model: nn.Module) -> list[str]:
    """Full names of the linear layers that get an adapter: attention projections, else the image head's layers.

    Raises UserError when a tower has neither.
    """
    attention = [
        name
        for name, module in model.named_modules()
        if hasattr(module, "qkv") or all(hasattr(module, part) for part in ("query", "key", "value"))  # or BLIP's text
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
