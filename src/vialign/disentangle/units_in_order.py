"""The parser's reading of a split (UNITS), met text by text while it is read from its file."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from vialign.errors import UserError
from vialign.tables.language import UNITS


class UnitsInOrder:
    """UNITS that come in parts and in the order of their texts; one part is held at a time."""

    def __init__(self, parts: Iterable[pd.DataFrame]) -> None:
        self._parts = iter(parts)
        self._open([])

    def of(self, text_ids: Sequence[str]) -> pd.DataFrame:
        """The units of the next texts, which follow those that were asked for before."""
        wanted, found = set(text_ids), []
        while True:
            start = self._next
            while self._next < len(self._names) and self._names[self._next] in wanted:
                self._next += 1
            if self._next > start:
                found.append(self._part.iloc[start : self._next])
            if self._next < len(self._names) or not self._open(self._parts):
                return pd.concat(found) if found else UNITS.empty()

    def require_end(self) -> None:
        """Raise UserError where units are left: they belong to other texts, or do not follow the order of the texts."""
        if self._next < len(self._names) or self._open(self._parts):
            raise UserError(
                f"units: text {self._names[self._next]!r} is not among the texts with features, or stands in another "
                "place; delete the split's features and its tables of texts and units, and run again"
            )

    def _open(self, parts: Iterable[pd.DataFrame]) -> bool:
        """Go on with the next part that is not empty; whether there is one."""
        self._part = next((part for part in parts if len(part)), UNITS.empty())
        self._names: list[str] = self._part["text_id"].tolist()
        self._next = 0
        return bool(self._names)


def in_order(units: pd.DataFrame, text_ids: Sequence[str]) -> pd.DataFrame:
    """The units of these texts in the order of the texts, each text's own in the order that they stand in."""
    place = pd.Index(text_ids).get_indexer(pd.Index(units["text_id"]))
    known = np.flatnonzero(place >= 0)
    return units.iloc[known[np.argsort(place[known], kind="stable")]]
