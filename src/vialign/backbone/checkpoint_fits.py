"""Which of open_clip's architectures have the widths and depths that a checkpoint's tensors, or a model, show."""

import re
from collections.abc import Mapping
from typing import Any

import open_clip
from torch import Tensor, nn

SHOWN = 3
"""Architectures that a message names."""
Trunk = tuple[str, int]
"""What timm calls an image tower, and the side of the square that it sees."""


def fitting_architectures(state: Mapping[str, Tensor], most: int = SHOWN) -> list[str]:
    """Names of open_clip's models whose sizes the tensors have, at most `most`; empty where none does or none is known.

    Only models with open_clip's own two towers are told apart by their tensors; the number of heads and the activation
    leave no trace in a tensor's shape, so several models may fit.
    """
    return _with_sizes(_sizes_of_tensors(state, None))[:most]


def architectures_of(model: nn.Module) -> list[str]:
    """Names of open_clip's models whose sizes and activation a model has; of an image tower of timm, whose name too.

    Several where nothing that can be seen tells them apart; none for text towers of another library.
    """
    quick = any(type(part).__name__ == "QuickGELU" for part in model.modules())
    found = _with_sizes(_sizes_of_tensors(model.state_dict(), _trunk_of(model)))
    return [name for name in found if bool(open_clip.get_model_config(name).get("quick_gelu")) == quick]


def _trunk_of(model: nn.Module) -> Trunk | None:
    """The image tower of timm in a model; None for another one."""
    visual = getattr(model, "visual", None)
    said = getattr(getattr(visual, "trunk", None), "pretrained_cfg", None)
    if visual is None or not isinstance(said, Mapping) or not hasattr(visual, "image_size"):
        return None
    return str(said.get("architecture")), visual.image_size[0]


def _with_sizes(sizes: dict[str, Any] | None) -> list[str]:
    """All of open_clip's models that have some sizes, short names first."""
    if sizes is None:
        return []
    names = (name for name in open_clip.list_models() if _sizes_of_settings(open_clip.get_model_config(name)) == sizes)
    return sorted(names, key=lambda name: (len(name), name))


def _sizes_of_tensors(state: Mapping[str, Tensor], trunk: Trunk | None) -> dict[str, Any] | None:
    """Sizes as `_sizes_of_settings` gives them."""
    shapes = {name.removeprefix("text."): tuple(tensor.shape) for name, tensor in state.items()}
    if any(len(shapes.get(name, ())) < 2 for name in ("token_embedding.weight", "positional_embedding")):
        return None
    vision = trunk or _vision_of_tensors(shapes)
    if vision is None:
        return None
    vocabulary, width = shapes["token_embedding.weight"]
    # CoCa's text tower has a token of its own behind the context.
    own = "cls_emb" in shapes
    context = shapes["positional_embedding"][0] - own
    return {
        "embed_dim": _dimension(shapes, width),
        "text": (vocabulary, width, context, _count(shapes, r"transformer\.resblocks"), own),
        "vision": vision,
    }


def _dimension(shapes: Mapping[str, tuple[int, ...]], width: int) -> int:
    """Of the joint space: what the text tower is projected to, by a matrix or a layer, if it is."""
    if len(matrix := shapes.get("text_projection", ())) == 2:
        return matrix[1]
    return shapes.get("text_projection.weight", (width,))[0]


def _vision_of_tensors(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, ...] | None:
    """Sizes of open_clip's own image towers; None for another one."""
    if "visual.layer1.0.conv1.weight" in shapes:
        depths = tuple(_count(shapes, rf"visual\.layer{stage}") for stage in (1, 2, 3, 4))
        return depths, shapes["visual.layer1.0.conv1.weight"][0]
    if len(shapes.get("visual.positional_embedding", ())) != 2 or len(shapes.get("visual.conv1.weight", ())) != 4:
        return None
    channels, _, patch, _ = shapes["visual.conv1.weight"]
    side = round((shapes["visual.positional_embedding"][0] - 1) ** 0.5)
    return _count(shapes, r"visual\.transformer\.resblocks"), channels, patch, side


def _sizes_of_settings(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Sizes of a model as its open_clip settings say, with open_clip's own defaults; None for other text towers."""
    if settings is None or settings["text_cfg"].get("hf_model_name"):
        return None
    text = settings["text_cfg"]
    return {
        "embed_dim": settings["embed_dim"],
        "text": (
            text.get("vocab_size", 49408),
            text.get("width", 512),
            text.get("context_length", 77),
            text.get("layers", 12),
            bool(text.get("embed_cls")),
        ),
        "vision": _vision_of_settings(settings["vision_cfg"]),
    }


def _vision_of_settings(vision: Mapping[str, Any]) -> tuple[Any, ...]:
    size, depth, width = vision.get("image_size", 224), vision.get("layers", 12), vision.get("width", 768)
    if vision.get("timm_model_name"):
        return vision["timm_model_name"].partition(".")[0], size
    if isinstance(depth, list):
        return tuple(depth), width
    patch = vision.get("patch_size", 16)
    return depth, width, patch, size // patch


def _count(names: Mapping[str, Any], prefix: str) -> int:
    """Blocks whose names begin with `prefix` and a number."""
    found = (re.match(rf"{prefix}\.(\d+)\.", name) for name in names)
    return len({match[1] for match in found if match})
