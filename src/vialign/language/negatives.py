"""Rule-made hard negatives: the same words, or nearly, that no longer say what the image shows.

Kinds after Winoground, ARO and SugarCrepe: roles swapped, attributes swapped, relation replaced, words shuffled. A rule
that cannot be sure to make the text wrong makes nothing: symmetric relations are not swapped, and a spatial relation
is replaced only by one that excludes it.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from vialign.language.lexicon import (
    Vocabulary,
    attribute_class,
    canonical,
    is_symmetric,
    replacements,
    spatial_end,
    synonyms,
)
from vialign.language.units import Unit
from vialign.tables.data import NEGATIVE_KINDS

_SAY_VOWEL = ("hour", "honest", "heir", "herb")
_SAY_CONSONANT = ("uni", "use", "usu", "euro", "one", "once", "ute")


def make_negative(
    kind: str,
    text: str,
    units: Sequence[Unit],
    vocabulary: Vocabulary,
    random: np.random.Generator,
    true_texts: Collection[str] = (),
    true_relations: Collection[str] = (),
) -> str | None:
    """A text of one kind (`vialign.names.NEGATIVES`) that the image does not show, or None where no rule applies.

    `true_texts` are the captions of the same image: none of them is ever returned, nor the text itself, whatever their
    case and spacing. `true_relations` are relations that those captions use: none of them is put in, unless the one
    it replaces excludes it (`below` for `above`).
    """
    makers = {
        "swap_roles": lambda: _swap_roles(text, units),
        "swap_attributes": lambda: _swap_attributes(text, units),
        "replace_relation": lambda: _replace_relation(text, units, vocabulary, random, true_relations),
        "shuffle": lambda: _shuffle(text, units, random),
    }
    if kind not in makers:
        raise ValueError(f"unknown kind of negative {kind!r}; one of {NEGATIVE_KINDS}")
    forbidden = {normal_form(true) for true in (text, *true_texts)}
    candidates = [made for made in makers[kind]() if normal_form(made) not in forbidden]
    return candidates[int(random.integers(len(candidates)))] if candidates else None


def normal_form(text: str) -> str:
    """Lower case, single spaces, no punctuation at the end: what makes two captions the same."""
    return " ".join(text.lower().split()).rstrip(" .!")


def _words(text: str, unit: Unit) -> str:
    return text[unit.start : unit.end]


def _swap_roles(text: str, units: Sequence[Unit]) -> list[str]:
    made = []
    for unit in units:
        if unit.kind != "relation" or min(unit.subject, unit.object) < 0 or is_symmetric(_words(text, unit)):
            continue
        first, second = sorted((units[unit.subject], units[unit.object]), key=lambda entity: entity.start)
        alike = canonical(_words(text, first)) == canonical(_words(text, second))
        if first.end <= second.start and not alike:
            made.append(replace_spans(text, {first[1:3]: _words(text, second), second[1:3]: _words(text, first)}))
    return made


def _swap_attributes(text: str, units: Sequence[Unit]) -> list[str]:
    attributes = [unit for unit in units if unit.kind == "attribute" and unit.subject >= 0]
    owned: dict[int, set[str]] = {}
    for unit in attributes:
        owned.setdefault(unit.subject, set()).add(_words(text, unit).lower())
    alike: list[str] = []
    others: list[str] = []
    for place, first in enumerate(attributes):
        for second in attributes[place + 1 :]:
            a, b = _words(text, first).lower(), _words(text, second).lower()
            if first.subject == second.subject or first.end > second.start:
                continue
            if synonyms(a, b) or a in owned[second.subject] or b in owned[first.subject]:
                continue
            made = replace_spans(text, {first[1:3]: _words(text, second), second[1:3]: _words(text, first)})
            if _same_statement(text, units, first, second):
                continue
            (alike if attribute_class(a) == attribute_class(b) else others).append(made)
    return alike or others


def _same_statement(text: str, units: Sequence[Unit], first: Unit, second: Unit) -> bool:
    """Whether swapping two attributes only renames which of two like things is meant: `a red and a blue star`."""
    one, two = units[first.subject], units[second.subject]
    if not synonyms(text[one.head_start : one.head_end].lower(), text[two.head_start : two.head_end].lower()):
        return False
    pair = {first.subject, second.subject}
    told_apart = any(
        unit.kind == "relation" and min(unit.subject, unit.object) >= 0 and not is_symmetric(_words(text, unit))
        for unit in units
        if {unit.subject, unit.object} & pair
    )
    return not told_apart


def _replace_relation(
    text: str,
    units: Sequence[Unit],
    vocabulary: Vocabulary,
    random: np.random.Generator,
    true_relations: Collection[str],
) -> list[str]:
    true = {relation.lower() for relation in true_relations}
    made = []
    for unit in units:
        if unit.kind != "relation" or min(unit.subject, unit.object) < 0:
            continue
        relation = " ".join(_words(text, unit).lower().split())
        options = replacements(relation, vocabulary)
        if spatial_end(relation) is None:
            options = [option for option in options if option not in true]
        if options:
            choice = options[int(random.integers(len(options)))]
            made.append(replace_spans(text, {unit[1:3]: choice}))
    return made


def _shuffle(text: str, units: Sequence[Unit], random: np.random.Generator) -> list[str]:
    words = text.split()
    stop = ""
    while words and not any(character.isalnum() for character in words[-1]):
        stop = f" {words.pop()}{stop}"
    if words and words[-1][-1] in ".!?":
        words[-1], stop = words[-1][:-1], words[-1][-1] + stop
    if len({word.lower() for word in words}) < 2:
        return []
    phrases = [_words(text, unit).lower() for unit in units if unit.kind == "entity" and " " in _words(text, unit)]
    words[0] = _lower_first(words[0], words[0])
    for _ in range(20):
        order = random.permutation(len(words))
        shuffled = " ".join(words[i] for i in order)
        intact = bool(phrases) and all(phrase in shuffled.lower() for phrase in phrases)
        if not intact and shuffled.lower() != " ".join(words).lower():
            return [_match_capital(shuffled, text) + stop]
    return []


def replace_spans(text: str, spans: Mapping[tuple[int, int], str]) -> str:
    """The text with some [start, end) spans replaced: a/an fits what follows, a capital stays at the beginning."""
    made, place = "", 0
    for (start, end), new in sorted(spans.items()):
        old = text[start:end]
        made += text[place:start]
        if made.strip():
            new = _lower_first(new, text)
        made = _fit_article(made, new) + new if old.lower() != new.lower() else made + new
        place = end
    return _match_capital(made + text[place:], text)


def _fit_article(before: str, following: str) -> str:
    words = before.split()
    if not words or words[-1].lower() not in ("a", "an") or not before.endswith(" "):
        return before
    article = "an" if _starts_with_vowel_sound(following) else "a"
    article = article.capitalize() if words[-1][0].isupper() else article
    return before[: len(before.rstrip()) - len(words[-1])] + article + " "


def _starts_with_vowel_sound(word: str) -> bool:
    lowered = word.lower()
    if lowered.startswith(_SAY_VOWEL):
        return True
    return lowered[:1] in "aeiou" and not lowered.startswith(_SAY_CONSONANT)


def _lower_first(phrase: str, text: str) -> str:
    """Take the capital off a phrase that opened its text, unless it is all capitals (`TV`)."""
    first = phrase.split()[0] if phrase.split() else ""
    opened = text.lstrip().startswith(phrase)
    if opened and first[:1].isupper() and (len(first) == 1 or not first[1:].isupper()):
        return phrase[:1].lower() + phrase[1:]
    return phrase


def _match_capital(made: str, text: str) -> str:
    return made[:1].upper() + made[1:] if text[:1].isupper() else made
