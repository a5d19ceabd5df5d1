"""What a gallery of the correction is cut to: units and prototypes that nothing uses are never worked out."""

import torch
from jaxtyping import Int
from torch import Tensor

from vialign.methods.objective import Side

_GROUPS, _GROUPED = 4, 200
"""Groups of like size that a gallery is dealt into, and the items from which on that pays."""
_WHOLE = ("pooled", "owner")
"""Parts of a side that have no axis of units or prototypes."""


def used_units(texts: Side) -> Int[Tensor, "text"]:
    """Units of each caption up to the last that has a weight, or that one with a weight names."""
    named = torch.maximum(torch.maximum(texts["subject"], texts["object"]), _places(texts["weight"]))
    return torch.where(texts["weight"] > 0, named, -1).amax(dim=1) + 1


def used_prototypes(images: Side) -> Int[Tensor, "image"]:
    """Prototypes of each image up to the last that has mass."""
    return torch.where(images["mass"] > 0, _places(images["mass"]), -1).amax(dim=1) + 1


def without_padding(texts: Side) -> Side:
    """The same text side, cut to the units that some caption uses; no score changes."""
    return _cut(texts, used_units(texts))


def without_absent(images: Side) -> Side:
    """The same image side, cut to the prototypes that some image has; no score changes."""
    return _cut(images, used_prototypes(images))


def by_size(sizes: Int[Tensor, "item"]) -> list[Tensor]:
    """The positions of a gallery's items in groups of like size, so that little of a group is padding.

    A few items, such as a training batch, are one group: there the calls would cost more than the padding.
    """
    if len(sizes) < _GROUPED:
        return [torch.arange(len(sizes), device=sizes.device)]
    return list(sizes.argsort(stable=True).chunk(_GROUPS))


def _places(values: Tensor) -> Int[Tensor, "place"]:
    return torch.arange(values.shape[1], device=values.device)


def _cut(side: Side, used: Int[Tensor, "item"]) -> Side:
    """The side up to the largest number that is used; at least one, so that there is something to take the best of."""
    most = max(1, int(used.amax()))
    return {name: tensor if name in _WHOLE else tensor[:, :most] for name, tensor in side.items()}
