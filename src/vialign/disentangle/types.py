"""What the disentanglers hand on: visual prototypes, phrase units, and the structure of a caption's tokens."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.device import to_device
from vialign.files.mapped import gathered

NONE, ENTITY, ATTRIBUTE, RELATION = range(4)
"""Kinds of a token or unit; `vialign.tables.language.UNIT_KINDS` in order, after none."""


Items = TypeVar("Items", bound="_Batch")


class _Batch:
    """A dataclass of tensors (or None) that share their first dimension."""

    def taken(self, positions: Tensor | slice) -> Self:
        """The items at `positions`, in that order, as they are held."""
        return self._map(lambda tensor: tensor[positions])

    def to(self: Items, device: torch.device | str) -> Items:
        """The same items on `device`."""
        return self._map(lambda tensor: to_device(tensor, torch.device(device)))

    def bound_for(self: Items, device: torch.device) -> Items:
        """The same items, of which those that are asked for by `index` come to `device`."""
        return self.to(device)

    @classmethod
    def concatenate(cls: type[Items], blocks: list[Items]) -> Items:
        """All items of `blocks`, in order; a field that is None in the first block is None."""
        columns = {}
        for field in fields(cls):  # type: ignore[arg-type]
            parts = [getattr(block, field.name) for block in blocks]
            columns[field.name] = None if parts[0] is None else torch.cat(parts)
        return cls(**columns)

    @classmethod
    def gathered(cls: type[Items], blocks: Iterable[Items], rows: int) -> Items:
        """As `concatenate`, of blocks with `rows` items in all, which are held no longer than it takes to write them
        (`vialign.files.mapped`). Raises ValueError when they do not add up.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        held = ({name: getattr(block, name) for name in names} for block in blocks)
        present = ({name: value for name, value in block.items() if value is not None} for block in held)
        return cls(**{**dict.fromkeys(names), **gathered(present, rows)})

    def _map(self: Items, change: Callable[[Tensor], Tensor]) -> Items:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **{name: change(value) if isinstance(value, Tensor) else value for name, value in values.items()}
        )


@dataclass(frozen=True)
class Prototypes(_Batch):
    """Visual prototypes of a batch of images, most active first."""

    features: Float[Tensor, "batch prototype dim"]
    """Unit vectors of the joint space, with the mean patch removed."""
    mass: Float[Tensor, "batch prototype"]
    """Share of the image's foreground activation; sums to 1."""
    maps: Float[Tensor, "batch prototype patch"] | None
    """Where the prototype is; each row sums to 1 (0 where mass is 0). None when dropped to save memory."""
    moments: Float[Tensor, "batch prototype 5"]
    """Mean x, mean y, standard deviation of x and of y, all in image widths or heights, and the fraction of the
    image's patches that the prototype holds."""

    def __len__(self) -> int:
        return self.features.shape[0]

    def index(self, positions: Tensor | slice) -> "Prototypes":
        """The prototypes of the images at `positions`, in that order, in single precision."""
        return self.taken(positions)


@dataclass(frozen=True)
class Phrases(_Batch):
    """Phrase units of a batch of captions, in the order of their first token."""

    features: Float[Tensor, "batch unit dim"]
    """Unit vectors; zero where there is no unit."""
    weight: Float[Tensor, "batch unit"]
    """Sums to 1 over the units of a caption; 0 where there is no unit."""
    kind: Int[Tensor, "batch unit"]
    """0 none, 1 entity, 2 attribute, 3 relation."""
    subject: Int[Tensor, "batch unit"]
    """Unit that a relation is said of or that an attribute modifies; -1 for none."""
    object: Int[Tensor, "batch unit"]
    """Unit that a relation is said towards; -1 for none."""
    assign: Float[Tensor, "batch unit token"] | None
    """Share of each token in the unit; each row sums to 1 (0 where there is no unit). None when dropped."""
    direction: Float[Tensor, "batch unit 8"] | None = None
    """Relative geometry that a relation with both arguments asks for; zero for every other unit. Its length is the
    share of geometry in the match: 1 for a spatial relation, `geometry.ADDED` for any other."""

    def __len__(self) -> int:
        return self.features.shape[0]

    def index(self, positions: Tensor | slice) -> "Phrases":
        """The phrases of the texts at `positions`, in that order, in single precision."""
        return self.taken(positions)


Side = TypeVar("Side", Prototypes, Phrases)


def reordered(prototypes: Prototypes, order: Int[Tensor, "image"], size: int = 256) -> Prototypes:
    """Those at `order`, in single precision, in a temporary file where they are not small."""
    return Prototypes.gathered((prototypes.index(part) for part in order.split(size)), len(order))


def in_blocks(whole: Side, size: int = 256) -> Iterator[Side]:
    """All items in order, `size` at a time, in single precision; one empty block of none."""
    return (whole.index(slice(start, start + size)) for start in range(0, max(len(whole), 1), size))


@dataclass(frozen=True)
class TokenStructure(_Batch):
    """Phrase units written on the tokens of a batch of captions."""

    kind: Int[Tensor, "batch token"]
    """0 none, 1 entity, 2 attribute, 3 relation."""
    begin: Bool[Tensor, "batch token"]
    """Whether the token is the first of its unit."""
    subject: Int[Tensor, "batch token"]
    """Token that heads the subject of the token's unit; -1 for none."""
    object: Int[Tensor, "batch token"]
    """Token that heads the object of the token's unit; -1 for none."""

    def __len__(self) -> int:
        return self.kind.shape[0]
