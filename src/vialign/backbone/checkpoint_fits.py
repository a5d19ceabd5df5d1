"""Which of open_clip's architectures have the widths and depths that a checkpoint's tensors show."""

import re
from collections.abc import Mapping
from typing import Any

import open_clip
from torch import Tensor

SHOWN = 3
"""Architectures that a message names."""


def fitting_architectures(state: Mapping[str, Tensor], most: int = SHOWN) -> list[str]:
    """Names of open_clip's models whose sizes the tensors have, at most `most`; empty where none does or none is known.

    Only models with open_clip's own two towers are told apart by their sizes; the number of heads and the activation
    leave no trace in a tensor's shape, so several models may fit.
    """
    found = _sizes_of_tensors(state)
    if found is None:
        return []
    names = (name for name in open_clip.list_models() if _sizes_of_settings(open_clip.get_model_config(name)) == found)
    return sorted(names, key=lambda name: (len(name), name))[:most]


def _sizes_of_tensors(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Sizes as `_sizes_of_settings` gives them."""
    shapes = {name.removeprefix("text."): tuple(tensor.shape) for name, tensor in state.items()}
    needed = ("text_projection", "token_embedding.weight", "positional_embedding", "visual.conv1.weight")
    if any(name not in shapes for name in needed) or any(len(shapes[name]) < 2 for name in needed):
        return None
    vocabulary, width = shapes["token_embedding.weight"]
    sizes: dict[str, Any] = {
        "embed_dim": shapes["text_projection"][1],
        "text": (vocabulary, width, shapes["positional_embedding"][0], _count(shapes, r"transformer\.resblocks")),
    }
    if "visual.layer1.0.conv1.weight" in shapes:
        depths = tuple(_count(shapes, rf"visual\.layer{stage}") for stage in (1, 2, 3, 4))
        return sizes | {"vision": (depths, shapes["visual.layer1.0.conv1.weight"][0])}
    if len(shapes.get("visual.positional_embedding", ())) != 2 or len(shapes["visual.conv1.weight"]) != 4:
        return None
    channels, _, patch, _ = shapes["visual.conv1.weight"]
    side = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
    depth = _count(shapes, r"visual\.transformer\.resblocks")
    return sizes | {"vision": (depth, channels, patch, side)}


def _sizes_of_settings(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Sizes of a model as its open_clip settings say, with open_clip's own defaults; None for other towers."""
    if settings is None:
        return None
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    if vision.get("timm_model_name") or text.get("hf_model_name"):
        return None
    sizes: dict[str, Any] = {
        "embed_dim": settings["embed_dim"],
        "text": (
            text.get("vocab_size", 49408),
            text.get("width", 512),
            text.get("context_length", 77),
            text.get("layers", 12),
        ),
    }
    depth, width = vision.get("layers", 12), vision.get("width", 768)
    if isinstance(depth, list):
        return sizes | {"vision": (tuple(depth), width)}
    patch = vision.get("patch_size", 16)
    return sizes | {"vision": (depth, width, patch, vision.get("image_size", 224) // patch)}


def _count(names: Mapping[str, Any], prefix: str) -> int:
    """Blocks whose names begin with `prefix` and a number."""
    found = (re.match(rf"{prefix}\.(\d+)\.", name) for name in names)
    return len({match[1] for match in found if match})
