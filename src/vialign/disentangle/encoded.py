"""Prototypes and phrases of a whole split on disk, so that every later stage reads what one stage encoded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.device import CPU
from vialign.disentangle.types import Phrases, Prototypes
from vialign.files.artifacts import read_tensors, tensors_in_parts
from vialign.files.shards import gathered_provenance

_HALF = torch.float16
_Columns = dict[str, np.ndarray]
"""Rows of a block, by the name of the tensor in the file."""


def no_units(images: int, texts: int, dimension: int) -> tuple[Prototypes, Phrases]:
    """Prototypes and phrases for a method that reads none: one of no mass for every image, none for any text."""
    seen, said = torch.zeros(images, 1), torch.zeros(texts, 1, dtype=torch.long)
    prototypes = Prototypes(torch.zeros(images, 1, dimension), seen, None, torch.zeros(images, 1, 5))
    return prototypes, Phrases(torch.zeros(texts, 1, dimension), said.float(), said, said, said, None)


def write_encoded(
    prototypes: Iterable[Prototypes],
    phrases: Iterable[Phrases],
    counts: tuple[int, int],
    path: str | Path,
    provenance: Mapping[str, str],
) -> None:
    """Write the blocks of both, one after the other; `counts` says how many images and texts they hold.

    Features are in half precision, which changes a cosine by less than 1e-3. Raises ValueError when the blocks do not
    add up, or there is none.
    """
    if not all(counts):
        raise ValueError("a split without images or texts cannot be encoded")
    write_encoded_rows(prototypes, phrases, counts, path, provenance)


def write_encoded_rows(
    prototypes: Iterable[Prototypes],
    phrases: Iterable[Phrases],
    counts: tuple[int, int],
    path: str | Path,
    provenance: Mapping[str, str],
) -> None:
    """The same of some rows of a split, for `join_encoded`: they may be no images, no texts, or nothing at all."""
    _write((map(_of_prototypes, prototypes), map(_of_phrases, phrases)), counts, path, provenance)


def join_encoded(parts: Sequence[str | Path], path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write what `write_encoded` writes of a whole split, from files that hold all rows of it, in their order.

    It copies them, since the rows of a column lie in one piece. Raises ValueError when they hold no images or no texts.
    """
    found = [{name: values.numpy() for name, values in read_tensors(part).items()} for part in parts]
    sides = [
        [{name: values for name, values in one.items() if name.startswith(side)} for one in found]
        for side in ("prototypes.", "phrases.")
    ]
    blocks = [[one for one in side if one] for side in sides]
    counts = [sum(len(next(iter(one.values()))) for one in side) for side in blocks]
    if not all(counts):
        raise ValueError("a split without images or texts cannot be encoded")
    _write([iter(side) for side in blocks], counts, path, gathered_provenance(parts[0], provenance))


def _write(
    sides: Iterable[Iterator[_Columns]], counts: Sequence[int], path: str | Path, provenance: Mapping[str, str]
) -> None:
    """Write the columns of both sides, of each of which there are so many rows."""
    present = [(count, *_peeked(blocks)) for count, blocks in zip(counts, sides, strict=True) if count]
    layout = {
        name: (values.dtype.type, (count, *values.shape[1:]))
        for count, first, _ in present
        for name, values in first.items()
    }
    largest_first = sorted(layout.items(), key=lambda column: -np.dtype(column[1][0]).itemsize)
    with tensors_in_parts(dict(largest_first), path, provenance) as arrays:
        for count, _, blocks in present:
            if _filled(arrays, blocks) != count:
                raise ValueError(f"{path}: blocks do not hold {count} rows")


def _filled(arrays: Mapping[str, np.ndarray], blocks: Iterable[_Columns]) -> int:
    """Put blocks below each other; how many rows they hold."""
    end = 0
    for block in blocks:
        start = end
        for name, values in block.items():
            end = start + len(values)
            arrays[name][start:end] = values
    return end


def _peeked(blocks: Iterator[_Columns]) -> tuple[_Columns, Iterator[_Columns]]:
    """The first block, and all of them."""
    first = next(blocks, None)
    if first is None:
        raise ValueError("there are no blocks, where rows were promised")
    return first, chain([first], blocks)


def _of_prototypes(block: Prototypes) -> _Columns:
    columns = {
        "prototypes.features": block.features.to(_HALF),
        "prototypes.mass": block.mass,
        "prototypes.moments": block.moments,
    }
    return {name: values.detach().numpy() for name, values in columns.items()}


def _of_phrases(block: Phrases) -> _Columns:
    columns = {
        "phrases.features": block.features.to(_HALF),
        "phrases.weight": block.weight,
        "phrases.kind": block.kind.to(torch.int8),
        "phrases.subject": block.subject.to(torch.int8),
        "phrases.object": block.object.to(torch.int8),
    }
    if block.direction is not None:
        columns["phrases.direction"] = block.direction.to(_HALF)
        columns["phrases.geometry"] = block.direction.norm(dim=-1).to(_HALF)
    return {name: values.detach().numpy() for name, values in columns.items()}


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
