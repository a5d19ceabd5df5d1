"""The words of the phrase units of a split's texts, and on which of them two texts differ."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from vialign.methods.objective import SplitData
from vialign.tables.language import UNIT_KINDS


@dataclass(frozen=True)
class NamedUnit:
    """A unit as the parser read it (UNITS)."""

    kind: str
    """One of UNIT_KINDS."""
    words: str
    says: tuple[str, ...]
    """What it says, whatever the text around it, in lower case: an entity its head word; an attribute its words and the
    head word of what it modifies; a relation its words and both arguments, each as head word and attributes."""
    slot: int
    """Its place among the text's phrases; -1 where the disentangler read other units of this kind."""


class _Row(NamedTuple):
    """A row of UNITS without its text."""

    unit: int
    kind: str
    start: int
    end: int
    head_start: int
    head_end: int
    subject: int
    object: int


class UnitWords:
    """Units of the texts of a split, by the position of the text."""

    def __init__(self, units: pd.DataFrame, data: SplitData) -> None:
        self._kinds = data.phrases.kind
        self._names = data.texts["text_id"].tolist()
        self._contents = data.texts["text"].tolist()
        self._known: dict[int, list[NamedUnit]] = {}
        units = units.sort_values(["text_id", "unit"])
        self._columns = [units[name].tolist() for name in _Row._fields]
        names, starts, counts = np.unique(units["text_id"].to_numpy(object), return_index=True, return_counts=True)
        self._places = {
            name: slice(start, start + count)
            for name, start, count in zip(names, starts.tolist(), counts.tolist(), strict=True)
        }

    def units(self, text: int) -> list[NamedUnit]:
        """The units of a text, in order."""
        if text not in self._known:
            self._known[text] = self._read(text)
        return self._known[text]

    def words(self, text: int, slot: int) -> str | None:
        """The words of a phrase; None where the disentangler read other units than the parser did."""
        return next((unit.words for unit in self.units(text) if unit.slot == slot), None) if slot >= 0 else None

    def only_in(self, text: int, other: int) -> list[NamedUnit]:
        """The units of a text that another text does not have, of the first kind that has any.

        Kinds come in the order entity, attribute, relation: where the texts name other things, it is no wonder that
        what is said of them differs too.
        """
        known = {unit.says for unit in self.units(other)}
        differing = [unit for unit in self.units(text) if unit.says not in known]
        first = min((UNIT_KINDS.index(unit.kind) for unit in differing), default=-1)
        return [unit for unit in differing if unit.kind == UNIT_KINDS[first]]

    def _read(self, text: int) -> list[NamedUnit]:
        place = self._places.get(self._names[text], slice(0))
        rows = [_Row(*row) for row in zip(*(column[place] for column in self._columns), strict=True)]
        content = self._contents[text]
        heads = {row.unit: content[row.head_start : row.head_end].lower() for row in rows} | {-1: ""}
        words = {row.unit: content[row.start : row.end] for row in rows}
        described = {
            unit: (
                head,
                *sorted(words[row.unit].lower() for row in rows if (row.kind, row.subject) == ("attribute", unit)),
            )
            for unit, head in heads.items()
        }
        slots = {kind: self._slots(text, kind, [row.kind for row in rows].count(kind)) for kind in UNIT_KINDS}
        units = []
        for row in rows:
            own = words[row.unit]
            says = {
                "entity": (heads[row.unit],),
                "attribute": (own.lower(), heads[row.subject]),
                "relation": (own.lower(), *described[row.subject], "", *described[row.object]),
            }[row.kind]
            units.append(NamedUnit(row.kind, own, (row.kind, *says), slots[row.kind].pop(0)))
        return units

    def _slots(self, text: int, kind: str, count: int) -> list[int]:
        """Slots of the `count` units of a kind, by their order; -1 where they cannot be known.

        Where the numbers differ, units and phrases are not the same, unless all slots are taken: then the last units
        were cut off.
        """
        kinds = self._kinds[text].tolist()
        found = [slot for slot, number in enumerate(kinds) if number == UNIT_KINDS.index(kind) + 1]
        full = 0 not in kinds and len(found) < count
        return found + [-1] * (count - len(found)) if len(found) == count or full else [-1] * count
