"""A model that a user holds in memory as a backbone, known by its tensors instead of by a file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vialign.backbone.checkpoint_fits import SHOWN, architectures_of
from vialign.backbone.openclip import OpenClipBackbone
from vialign.backbone.registry import definition_digest, model_definition
from vialign.backbone.tokenizers import make_tokenizer
from vialign.errors import UserError


def tensors_digest(model: nn.Module) -> str:
    """`state_digest` of a model's tensors: the same for one set of weights, whatever file they lie in."""
    return state_digest(model.state_dict())


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of tensors by name, type and shape. Takes about a second a gigabyte."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        total.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return total.hexdigest()


def adopt_model(
    model: nn.Module,
    architecture: str | None = None,
    definition: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> OpenClipBackbone:
    """An open_clip model as a frozen backbone; the model itself is set to evaluation and frozen.

    `architecture` is its open_clip name, and `definition` its JSON where open_clip does not know that name; without a
    name it is found by its sizes, where one model alone has them. Raises UserError where none or several have, and as
    `vialign.backbone.load_backbone`.
    """
    if architecture is None:
        architecture = _architecture_of(model)
    settings = model_definition(architecture, definition)
    contract = {
        "architecture": architecture,
        "definition": definition_digest(settings),
        "activation": "quick_gelu" if settings.get("quick_gelu") else "gelu",
        "checkpoint": f"tensors:{tensors_digest(model)}",
    }
    return OpenClipBackbone(model, make_tokenizer(architecture, definition, tokenizer), contract)


def _architecture_of(model: nn.Module) -> str:
    fitting = architectures_of(model)
    if len(fitting) != 1:
        several = f"several models have its sizes ({', '.join(fitting[:SHOWN])})"
        raise UserError(
            f"wrap: {several if fitting else 'no model has its sizes'}; say which it is: architecture='ViT-B-32'"
        )
    return fitting[0]
