"""Rule-made hard negatives: the same words, or nearly, that no longer say what the image shows.

Kinds after Winoground, ARO and SugarCrepe: roles swapped, attributes swapped, relation replaced, words shuffled. A rule
that cannot be sure to make the text wrong makes nothing: symmetric relations are not swapped, and a spatial relation
is replaced only by one that excludes it.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vialign.data.treebank import word_set
from vialign.language.units import Unit
from vialign.tables import NEGATIVE_KINDS

_SYMMETRIC_ENDS = (
    "near",
    "nearby",
    "next to",
    "close to",
    "beside",
    "besides",
    "alongside",
    "touching",
    "adjacent to",
    "together with",
    "along with",
    "opposite",
    "across from",
    "far from",
    "away from",
    "apart from",
    "facing",
    "against",
    "between",
    "among",
    "like",
    "as",
    "meets",
    "meeting",
)
_SYMMETRIC_ALONE = word_set("with and by of or for than at around while as during because since if when about to")
"""Relations that are symmetric, or say too little about the roles, when they stand alone."""

_CONCEPTS: Mapping[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of", "on the left side of", "at the left of"),
    "right": ("right of", "to the right of", "on the right of", "on the right side of", "at the right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath", "underneath", "lower than"),
    "on": ("on", "on top of", "atop", "upon", "onto"),
    "inside": ("inside", "in", "within", "inside of"),
    "outside": ("outside", "outside of"),
    "into": ("into",),
    "out": ("out of",),
    "front": ("in front of", "before"),
    "behind": ("behind", "in back of", "after"),
    "larger": ("larger than", "bigger than", "greater than"),
    "smaller": ("smaller than", "littler than", "tinier than"),
    "taller": ("taller than",),
    "shorter": ("shorter than",),
    "near": ("near", "next to", "beside", "close to", "by", "alongside", "adjacent to", "nearby"),
    "far": ("far from", "far away from", "away from"),
    "with": ("with",),
    "without": ("without",),
    "toward": ("toward", "towards"),
    "from": ("from", "off", "off of"),
    "up": ("up",),
    "down": ("down",),
}
_EXCLUDES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "left": (("right",),),
    "right": (("left",),),
    "above": (("below",),),
    "below": (("above", "on"),),
    "on": (("below",),),
    "inside": (("outside",), ("on", "above", "below", "left", "right")),
    "outside": (("inside",),),
    "into": (("out",),),
    "out": (("into",),),
    "front": (("behind",),),
    "behind": (("front",),),
    "larger": (("smaller",),),
    "smaller": (("larger",),),
    "taller": (("shorter",),),
    "shorter": (("taller",),),
    "near": (("far",),),
    "far": (("near",),),
    "with": (("without",),),
    "without": (("with",),),
    "toward": (("from",),),
    "from": (("toward",),),
    "up": (("down",),),
    "down": (("up",),),
}
"""Concepts that exclude a concept; a later group serves where no form of the earlier ones occurs in the data."""
_CONCEPT_OF = {form: concept for concept, forms in _CONCEPTS.items() for form in forms}

_ATTRIBUTE_CLASSES = (
    word_set(
        "red green blue yellow orange purple pink brown black white gray grey cyan magenta violet crimson tan beige golden "
        "silver maroon teal turquoise blond blonde"
    ),
    word_set("small large big little tiny huge tall short giant long wide narrow medium"),
    word_set("young old elderly adult"),
    word_set("striped dotted spotted plain solid checkered filled hollow plaid smooth rough shiny furry fuzzy"),
)
_SYNONYMS = tuple(
    map(
        word_set,
        (
            "small little tiny",
            "large big huge giant",
            "gray grey",
            "red crimson scarlet",
            "purple violet",
            "dotted spotted",
            "young little",
            "circle disc disk",
            "square box",
            "ring hoop",
            "diamond rhombus",
            "man guy gentleman",
            "woman lady",
            "child kid",
            "people persons",
            "hold carry grab grip",
            "jump leap",
            "run race dash sprint jog play chase",
            "walk stroll",
            "look watch stare gaze see",
            "have wear contain hold",
            "touch meet",
        ),
    )
)
"""Words that may name the same thing or act; a pair here is never exchanged, so a doubtful one does no harm."""
_SAY_VOWEL = ("hour", "honest", "heir", "herb")
_SAY_CONSONANT = ("uni", "use", "usu", "euro", "one", "once", "ute")


@dataclass(frozen=True)
class Vocabulary:
    """Relations seen in the data, as spans in lower case with how often they occur."""

    counts: Mapping[str, int]

    @cached_property
    def endings(self) -> frozenset[str]:
        """Every relation and what remains of it when words are taken off its beginning (`on` of `sitting on`)."""
        words = [relation.split() for relation in self.counts]
        return frozenset(" ".join(relation[cut:]) for relation in words for cut in range(len(relation)))

    @classmethod
    def of(cls, relations: Iterable[str]) -> "Vocabulary":
        """Count relation spans."""
        return cls(dict(sorted(Counter(relation.lower() for relation in relations).items())))

    @cached_property
    def usual(self) -> tuple[str, ...]:
        """Relations seen more than once, in alphabetical order; those seen once are often slips of the parser."""
        return tuple(relation for relation, count in self.counts.items() if count > 1)


def make_negative(
    kind: str,
    text: str,
    units: Sequence[Unit],
    vocabulary: Vocabulary,
    random: np.random.Generator,
    true_texts: Collection[str] = (),
    true_relations: Collection[str] = (),
) -> str | None:
    """A text of one kind (`vialign.tables.NEGATIVE_KINDS`) that the image does not show, or None where no rule applies.

    `true_texts` are the captions of the same image: none of them is ever returned, nor the text itself, whatever their
    case and spacing. `true_relations` are relations that those captions use: none of them is put in, unless the one it replaces
    excludes it (`below` for `above`).
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


def is_symmetric(relation: str) -> bool:
    """Whether swapping the two sides of a relation may leave the statement true (or says nothing about the roles)."""
    words = relation.lower().split()
    if not words or relation.lower() in _SYMMETRIC_ALONE:
        return True
    joined = " ".join(words)
    if any(joined == end or joined.endswith(" " + end) for end in _SYMMETRIC_ENDS):
        return True
    return words[-1] in ("with", "by") and words[0].endswith(("ing", "s"))


def _words(text: str, unit: Unit) -> str:
    return text[unit.start : unit.end]


def _swap_roles(text: str, units: Sequence[Unit]) -> list[str]:
    made = []
    for unit in units:
        if unit.kind != "relation" or min(unit.subject, unit.object) < 0 or is_symmetric(_words(text, unit)):
            continue
        first, second = sorted((units[unit.subject], units[unit.object]), key=lambda entity: entity.start)
        alike = _canonical(_words(text, first)) == _canonical(_words(text, second))
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
            if _synonyms(a, b) or a in owned[second.subject] or b in owned[first.subject]:
                continue
            made = replace_spans(text, {first[1:3]: _words(text, second), second[1:3]: _words(text, first)})
            if _same_statement(text, units, first, second):
                continue
            (alike if _attribute_class(a) == _attribute_class(b) else others).append(made)
    return alike or others


def _same_statement(text: str, units: Sequence[Unit], first: Unit, second: Unit) -> bool:
    """Whether swapping two attributes only renames which of two like things is meant: `a red and a blue star`."""
    one, two = units[first.subject], units[second.subject]
    if not _synonyms(text[one.head_start : one.head_end].lower(), text[two.head_start : two.head_end].lower()):
        return False
    pair = {first.subject, second.subject}
    told_apart = any(
        unit.kind == "relation" and min(unit.subject, unit.object) >= 0 and not is_symmetric(_words(text, unit))
        for unit in units
        if {unit.subject, unit.object} & pair
    )
    return not told_apart


def _attribute_class(word: str) -> int:
    last = word.split()[-1]
    return next((i for i, members in enumerate(_ATTRIBUTE_CLASSES) if last in members), -1)


def _synonyms(a: str, b: str) -> bool:
    return a == b or any(a in group and b in group for group in _SYNONYMS)


def _canonical(phrase: str) -> list[str]:
    """The words of a phrase without its article, each replaced by one name for all its synonyms."""
    words = [word for word in phrase.lower().split() if word not in ("a", "an", "the")]
    return [next((min(group) for group in _SYNONYMS if word in group), word) for word in words]


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
        if _spatial_end(relation) is None:
            options = [option for option in options if option not in true]
        if options:
            choice = options[int(random.integers(len(options)))]
            made.append(replace_spans(text, {unit[1:3]: choice}))
    return made


def replacements(relation: str, vocabulary: Vocabulary) -> list[str]:
    """Relations that can stand in place of one and exclude it, in alphabetical order.

    A spatial relation (alone, or at the end of `sitting on`) gives those that exclude it: the forms seen in the data,
    or all forms where none was seen. Any other gives seen relations of the same form (`holding` for `wearing`).
    """
    words = relation.split()
    tail = _spatial_end(relation)
    if tail is not None:
        before = relation[: len(relation) - len(tail)]
        return sorted(before + form for form in _excluded_forms(tail, vocabulary))
    if relation in _SYMMETRIC_ALONE or not _is_verbal(words):
        return []
    return [
        option
        for option in vocabulary.usual
        if _is_verbal(option.split())
        and _form(option) == _form(relation)
        and len(option.split()) == len(words)
        and option.split()[1:] == words[1:]
        and not _same_verb(option.split()[0], words[0])
    ]


def _spatial_end(relation: str) -> str | None:
    """The longest end of a relation that is a spatial one: `on top of` in `sitting on top of`."""
    words = relation.split()
    ends = (" ".join(words[cut:]) for cut in range(len(words)))
    return next((end for end in ends if end in _CONCEPT_OF), None)


def _excluded_forms(form: str, vocabulary: Vocabulary) -> list[str]:
    groups = _EXCLUDES[_CONCEPT_OF[form]]
    for group in groups:
        forms = [other for concept in group for other in _CONCEPTS[concept]]
        observed = [other for other in forms if other in vocabulary.endings]
        if observed:
            return [other for other in observed if len(other.split()) == len(form.split())] or observed
    return [_CONCEPTS[groups[0][0]][0]]


def _is_verbal(words: Sequence[str]) -> bool:
    return _form(words[0]) in ("ing", "s", "ed")


def _form(relation: str) -> str:
    """Inflection of the first word, by its ending."""
    first = relation.split()[0]
    endings = ("ing", "ed", "s")
    return next((ending for ending in endings if first.endswith(ending) and len(first) > len(ending) + 1), "")


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word.rstrip("e")


def _same_verb(a: str, b: str) -> bool:
    one, two = _stem(a), _stem(b)
    return one == two or any({one, two} <= {_stem(member) for member in group} for group in _SYNONYMS)


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
