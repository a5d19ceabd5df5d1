"""Prototypes and phrases of a whole split on disk, so that every later stage reads what one stage encoded."""

from collections.abc import Mapping
from pathlib import Path

import torch

from vialign.disentangle.types import Phrases, Prototypes
from vialign.files.artifacts import read_tensors, write_tensors

_HALF = torch.float16


def write_encoded(prototypes: Prototypes, phrases: Phrases, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write both as safetensors; features in half precision, which changes a cosine by less than 1e-3."""
    tensors = {
        "prototypes.features": prototypes.features.to(_HALF),
        "prototypes.mass": prototypes.mass,
        "prototypes.moments": prototypes.moments,
        "phrases.features": phrases.features.to(_HALF),
        "phrases.weight": phrases.weight,
        "phrases.kind": phrases.kind.to(torch.int8),
        "phrases.subject": phrases.subject.to(torch.int8),
        "phrases.object": phrases.object.to(torch.int8),
    }
    if phrases.direction is not None:
        tensors["phrases.direction"] = phrases.direction.to(_HALF)
        tensors["phrases.geometry"] = phrases.direction.norm(dim=-1).to(_HALF)
    write_tensors(tensors, path, provenance)


def read_encoded(path: str | Path) -> tuple[Prototypes, Phrases]:
    """Prototypes of the split's images and phrases of its texts, in the order of the feature stores, in float32.

    Raises UserError when the file is missing or is not safetensors.
    """
    tensors = read_tensors(path)
    prototypes = Prototypes(
        features=_unit(tensors["prototypes.features"]),
        mass=tensors["prototypes.mass"],
        maps=None,
        moments=tensors["prototypes.moments"],
    )
    phrases = Phrases(
        features=_unit(tensors["phrases.features"]),
        weight=tensors["phrases.weight"],
        kind=tensors["phrases.kind"].long(),
        subject=tensors["phrases.subject"].long(),
        object=tensors["phrases.object"].long(),
        assign=None,
        direction=_direction(tensors) if "phrases.direction" in tensors else None,
    )
    return prototypes, phrases


def _direction(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Of its own length again, the share of geometry, after half precision."""
    return _unit(tensors["phrases.direction"]) * tensors["phrases.geometry"].float()[..., None]


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Unit length again after half precision; rows of zeros (padding) stay zero."""
    return torch.nn.functional.normalize(features.float(), dim=-1)
