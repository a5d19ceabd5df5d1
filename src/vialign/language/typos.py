"""Slips of the keyboard: a text as somebody in a hurry would have typed it, with its spans carried over."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vialign.random import generator

_WORD = re.compile(r"(?<!\w)[^\W\d_]{2,}(?!\w)")
"""Two letters or more that no digit touches: words of one letter and numbers are left alone."""
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _keyboard() -> dict[str, str]:
    """Neighbours of every letter on a QWERTY keyboard, whose rows are shifted by half a key against each other."""
    found: dict[str, str] = {}
    for number, row in enumerate(_ROWS):
        for place, letter in enumerate(row):
            near = [(number, place - 1), (number, place + 1), (number - 1, place), (number - 1, place + 1)]
            near += [(number + 1, place - 1), (number + 1, place)]
            found[letter] = "".join(_ROWS[r][p] for r, p in near if 0 <= r < len(_ROWS) and 0 <= p < len(_ROWS[r]))
    return found


NEIGHBOURS: Mapping[str, str] = _keyboard()
"""Letters next to a letter on the keyboard, lower case."""


@dataclass(frozen=True)
class Typed:
    """A text with typos."""

    text: str
    offsets: tuple[int, ...]
    """For every boundary between characters of the old text, 0 to its length, the same boundary in the new text."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters [start, end) of the old text lie in the new one."""
        return self.offsets[start], self.offsets[end]


@dataclass(frozen=True)
class _Slip:
    """One typo inside a word."""

    word: str
    place: int
    """Boundaries of the old word after this character move."""
    growth: int
    """By how many characters they move."""


_Make = Callable[[str, int, float], _Slip]


def add_typos(text: str, rate: float, random: np.random.Generator) -> Typed:
    """Give each word of a text one typo with probability `rate`: every kind that changes the word is equally likely.

    Kinds: two neighbouring letters swapped, a letter left out, a letter doubled, a letter replaced by a neighbour on
    the keyboard (QWERTY), in the same case. A word is a run of two or more letters; numbers are left alone, and spaces
    are neither made nor lost, so words stay words. A generator in the same state gives at a higher rate all the typos
    of a lower one and more. Raises ValueError for a rate outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}, expected a share of words in [0, 1]")
    pieces: list[str] = []
    offsets = np.arange(len(text) + 1)
    done = 0
    for match in _WORD.finditer(text):
        happens, kind, place = random.random(3)
        if happens >= rate:
            continue
        slip = _slip(match.group(), kind, place)
        pieces += [text[done : match.start()], slip.word]
        done = match.end()
        offsets[match.start() + slip.place + 1 :] += slip.growth
    return Typed("".join([*pieces, text[done:]]), tuple(offsets.tolist()))


def _slip(word: str, kind: float, place: float) -> _Slip:
    """One typo of a word; `kind` and `place` in [0, 1) choose among those that are possible."""
    places: dict[_Make, list[int]] = {
        _swap: [i for i in range(len(word) - 1) if word[i] != word[i + 1]],
        _leave_out: list(range(len(word))),
        _double: list(range(len(word))),
        _miss_the_key: [i for i in range(len(word)) if word[i].lower() in NEIGHBOURS],
    }
    possible = [make for make, found in places.items() if found]
    make = possible[int(kind * len(possible))]
    chosen = place * len(places[make])
    return make(word, places[make][int(chosen)], chosen % 1)


def _swap(word: str, i: int, _: float) -> _Slip:
    return _Slip(word[:i] + word[i + 1] + word[i] + word[i + 2 :], i, 0)


def _leave_out(word: str, i: int, _: float) -> _Slip:
    return _Slip(word[:i] + word[i + 1 :], i, -1)


def _double(word: str, i: int, _: float) -> _Slip:
    return _Slip(word[: i + 1] + word[i:], i, 1)


def _miss_the_key(word: str, i: int, which: float) -> _Slip:
    near = NEIGHBOURS[word[i].lower()]
    letter = near[int(which * len(near))]
    return _Slip(word[:i] + (letter.upper() if word[i].isupper() else letter) + word[i + 1 :], i, 0)


def with_typos(
    texts: pd.DataFrame, units: pd.DataFrame, rates: float | Sequence[float], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts (columns `text_id`, `text`) with typos, and UNITS of the old texts where they lie in the new ones.

    `rates` is one rate, or one for each text. Each text draws by its id, so that a typo of one never moves another's,
    and the typos of a higher rate are those of a lower one and more.
    """
    each = [float(rate) for rate in np.broadcast_to(np.asarray(rates, dtype=float), len(texts))]
    typed = {
        text_id: add_typos(text, rate, generator(seed, "typos", text_id))
        for text_id, text, rate in zip(texts["text_id"], texts["text"], each, strict=True)
    }
    moved = units[units["text_id"].isin(typed)].copy()
    for start, end in (("start", "end"), ("head_start", "head_end")):
        spans = [typed[key].span(a, b) for key, a, b in zip(moved["text_id"], moved[start], moved[end], strict=True)]
        moved[start], moved[end] = [span[0] for span in spans], [span[1] for span in spans]
    return texts.assign(text=[typed[text_id].text for text_id in texts["text_id"]]), moved.reset_index(drop=True)
