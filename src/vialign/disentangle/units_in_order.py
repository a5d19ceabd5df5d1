"""The parser's reading of texts, met text by text: of a split (UNITS) while it is read from its file, or in memory."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from torch import Tensor

from vialign.disentangle.structure import align_units, place_units
from vialign.disentangle.types import TokenStructure
from vialign.errors import UserError
from vialign.tables.language import UNITS

if TYPE_CHECKING:
    from vialign.language.units import Unit


class UnitsInOrder:
    """UNITS that come in parts and in the order of their texts; one part is held at a time."""

    def __init__(self, parts: Iterable[pd.DataFrame]) -> None:
        self._parts = iter(parts)
        self._open([])

    def of(self, text_ids: Sequence[str]) -> pd.DataFrame:
        """The units of the next texts, which follow those that were asked for before."""
        found = list(self._met(set(text_ids)))
        return pd.concat(found) if found else UNITS.empty()

    def skip(self, text_ids: Sequence[str]) -> None:
        """Go past the units of the next texts, of which none is held."""
        for _ in self._met(set(text_ids)):
            pass

    def on_tokens(
        self, text_ids: Sequence[str], offsets: Int[Tensor, "text token 2"], mask: Bool[Tensor, "text token"]
    ) -> TokenStructure:
        """The same on the tokens of these texts, as `align_units`."""
        return align_units(self.of(text_ids), text_ids, offsets, mask)

    def require_end(self) -> None:
        """Raise UserError where units are left: they belong to other texts, or do not follow the order of the texts."""
        if self._next < len(self._names) or self._open(self._parts):
            raise UserError(
                f"units: text {self._names[self._next]!r} is not among the texts with features, or stands in another "
                "place; delete the split's features and its tables of texts and units, and run again"
            )

    def _met(self, wanted: set[str]) -> Iterator[pd.DataFrame]:
        """The units of these texts that come next, part by part."""
        while True:
            start = self._next
            while self._next < len(self._names) and self._names[self._next] in wanted:
                self._next += 1
            if self._next > start:
                yield self._part.iloc[start : self._next]
            if self._next < len(self._names) or not self._open(self._parts):
                return

    def _open(self, parts: Iterable[pd.DataFrame]) -> bool:
        """Go on with the next part that is not empty; whether there is one."""
        self._part = next((part for part in parts if len(part)), UNITS.empty())
        self._names: list[str] = self._part["text_id"].tolist()
        self._next = 0
        return bool(self._names)


class UnitsInMemory:
    """Units of texts that follow each other, of each its own, in no table."""

    def __init__(self, units: Iterable[Sequence["Unit"]]) -> None:
        self._units = iter(units)

    def on_tokens(
        self, text_ids: Sequence[str], offsets: Int[Tensor, "text token 2"], mask: Bool[Tensor, "text token"]
    ) -> TokenStructure:
        """The units of the next texts, as many as there are names, on their tokens."""
        own = list(islice(self._units, len(text_ids)))
        return place_units(own, range(len(own)), offsets, mask)

    def require_end(self) -> None:
        """Raise ValueError where units are left."""
        if next(self._units, None) is not None:
            raise ValueError("there are more texts with units than texts with tokens")


def in_order(units: pd.DataFrame, text_ids: Sequence[str]) -> pd.DataFrame:
    """The units of these texts in the order of the texts, each text's own in the order that they stand in."""
    place = pd.Index(text_ids).get_indexer(pd.Index(units["text_id"]))
    known = np.flatnonzero(place >= 0)
    return units.iloc[known[np.argsort(place[known], kind="stable")]]
