"""What the rules know about words: synonyms, symmetric relations, and relations that exclude each other.

Closed lists, kept on the careful side: where two words might mean the same, they count as the same, so that a rule
makes no negative rather than a true one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from vialign.data.treebanks.penn import word_set

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
    "joined to",
    "connected to",
    "matches",
    "matching",
)
_SYMMETRIC_ALONE = word_set("with and by of or for than at around while as during because since if when about to")
"""Relations that are symmetric, or say too little about the roles, when they stand alone."""

_NEVER_VERBS = word_set("across towards besides as this during including following regarding considering")
"""Prepositions that look like an inflected verb."""

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
        "red green blue yellow orange purple pink brown black white gray grey cyan magenta violet crimson tan "
        "beige golden silver maroon teal turquoise blond blonde"
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


def is_symmetric(relation: str) -> bool:
    """Whether swapping the two sides of a relation may leave the statement true (or says nothing about the roles)."""
    words = relation.lower().split()
    if not words or relation.lower() in _SYMMETRIC_ALONE:
        return True
    joined = " ".join(words)
    if any(joined == end or joined.endswith(" " + end) for end in _SYMMETRIC_ENDS):
        return True
    return words[-1] in ("with", "by") and words[0].endswith(("ing", "s"))


def attribute_class(word: str) -> int:
    """Number of the closed list (colour, size, age, texture) that an attribute's last word belongs to; -1 for none."""
    last = word.split()[-1]
    return next((i for i, members in enumerate(_ATTRIBUTE_CLASSES) if last in members), -1)


def synonyms(a: str, b: str) -> bool:
    """Whether two words are the same, or may mean the same."""
    return a == b or any(a in group and b in group for group in _SYNONYMS)


def canonical(phrase: str) -> list[str]:
    """The words of a phrase without its article, each replaced by one name for all its synonyms."""
    words = [word for word in phrase.lower().split() if word not in ("a", "an", "the")]
    return [next((min(group) for group in _SYNONYMS if word in group), word) for word in words]


def replacements(relation: str, vocabulary: Vocabulary) -> list[str]:
    """Relations that can stand in place of one and exclude it, in alphabetical order.

    A spatial relation (alone, or at the end of `sitting on`) gives those that exclude it: the forms seen in the data,
    or all forms where none was seen. Any other gives seen relations of the same form (`holding` for `wearing`).
    """
    words = relation.split()
    tail = spatial_end(relation)
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


def spatial_end(relation: str) -> str | None:
    """The longest end of a relation that is a spatial one: `on top of` in `sitting on top of`."""
    words = relation.split()
    ends = (" ".join(words[cut:]) for cut in range(len(words)))
    return next((end for end in ends if end in _CONCEPT_OF), None)


def is_spatial(relation: str) -> bool:
    """Whether two boxes can decide a relation: it says where its sides lie, or which of them is larger."""
    end = spatial_end(relation.lower())
    return end is not None and _CONCEPT_OF[end] not in ("with", "without")


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
    if first in _NEVER_VERBS:
        return ""
    endings = ("ing", "ed", "s")
    return next((ending for ending in endings if first.endswith(ending) and len(first) > len(ending) + 1), "")


def _stem(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
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
