"""Prototypes and phrases of a whole split on disk, so that every later stage reads what one stage encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vialign.device import CPU
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


def as_stored(prototypes: Prototypes) -> Prototypes:
    """Prototypes as they come back from a file: their features went through half precision."""
    return replace(prototypes, features=_unit(prototypes.features.to(_HALF)))


@dataclass(frozen=True)
class StoredPrototypes(Prototypes):
    """Prototypes in a mapped file, features in half precision: `index` reads its rows alone, in single precision."""

    where: torch.device = CPU
    """Where `index` brings them."""

    def bound_for(self, device: torch.device) -> "StoredPrototypes":
        """The same file, whose rows come to `device`."""
        return replace(self, where=device)

    def index(self, positions: Tensor | slice) -> Prototypes:
        """The prototypes of the images at `positions`, in that order, in single precision."""
        taken = self.taken(positions).to(self.where)
        return Prototypes(_unit(taken.features), taken.mass, None, taken.moments)


@dataclass(frozen=True)
class StoredPhrases(Phrases):
    """Phrases in a mapped file, in small types: `index` reads its rows alone, as float32 and int64."""

    geometry: Float[Tensor, "batch unit"] | None = None
    """The length of `direction`, which half precision keeps apart."""
    where: torch.device = CPU
    """Where `index` brings them."""

    def bound_for(self, device: torch.device) -> "StoredPhrases":
        """The same file, whose rows come to `device`."""
        return replace(self, where=device)

    def index(self, positions: Tensor | slice) -> Phrases:
        """The phrases of the texts at `positions`, in that order, as float32 and int64."""
        taken = self.taken(positions).to(self.where)
        direction = None
        if taken.direction is not None and taken.geometry is not None:
            direction = _unit(taken.direction) * taken.geometry.float()[..., None]
        return Phrases(
            features=_unit(taken.features),
            weight=taken.weight,
            kind=taken.kind.long(),
            subject=taken.subject.long(),
            object=taken.object.long(),
            assign=None,
            direction=direction,
        )


def read_encoded(path: str | Path) -> tuple[StoredPrototypes, StoredPhrases]:
    """Prototypes of the split's images and phrases of its texts, in the order of the feature stores, mapped.

    Raises UserError when the file is missing or is not safetensors.
    """
    tensors = read_tensors(path)
    prototypes = StoredPrototypes(
        features=tensors["prototypes.features"],
        mass=tensors["prototypes.mass"],
        maps=None,
        moments=tensors["prototypes.moments"],
    )
    phrases = StoredPhrases(
        features=tensors["phrases.features"],
        weight=tensors["phrases.weight"],
        kind=tensors["phrases.kind"],
        subject=tensors["phrases.subject"],
        object=tensors["phrases.object"],
        assign=None,
        direction=tensors.get("phrases.direction"),
        geometry=tensors.get("phrases.geometry"),
    )
    return prototypes, phrases


def _unit(features: Tensor) -> Tensor:
    """Unit length again after half precision; rows of zeros (padding) stay zero."""
    return torch.nn.functional.normalize(features.float(), dim=-1)
