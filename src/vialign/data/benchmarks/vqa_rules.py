"""The part of VQA v2 that needs relations or attributes, and how a question and an answer become one sentence.

VQA v2 (Goyal et al. 2017, arXiv:1612.00837) has no such part of its own. `RULES` defines one, by the words of the
question alone: no rule looks at the answers, so that which questions are asked does not depend on what people said.
Left out on purpose: counting (`how many people are on the left`), reading (`what number is on the bus`), activities
without an object (`is the man running`), the place of the whole photograph (`is this in a city`) and possession
(`does the dog have a collar`), which asks now for a part and now for an attribute.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple


def _words(listed: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in listed.split(","))


PLACES = _words(
    "to the left of, to the right of, on the left of, on the right of, left of, right of, on top of, in front of, "
    "in the middle of, next to, close to, across from, above, below, under, underneath, beneath, behind, beside, "
    "between, against, near, inside, outside, around, over, on, in"
)
"""Words that place one thing by another."""
ACTS = _words(
    "wearing, holding, carrying, riding, pulling, pushing, touching, eating, drinking, throwing, catching, kicking, "
    "hitting, feeding, petting, hugging, chasing, facing, following, watching, looking at, pointing at, sitting on, "
    "sitting in, sitting at, sitting next to, standing on, standing in, standing next to, standing near, "
    "standing behind, lying on, laying on, leaning on, leaning against, hanging from, hanging on, walking on, "
    "talking on, playing with"
)
"""What one thing does to, or with, another."""
COLOURS = _words(
    "red, orange, yellow, green, blue, purple, violet, pink, brown, black, white, gray, grey, tan, beige, gold, "
    "golden, silver, blonde, colorful, colourful"
)
QUALITIES = _words(
    "open, closed, wet, dry, full, empty, clean, dirty, old, new, young, big, large, small, tall, short, long, round, "
    "square, flat, curved, straight, striped, plaid, dotted, plain, wooden, metal, plastic, brick, furry, fluffy, "
    "shiny, transparent, bright, dark, hot, cold"
)
"""Attributes that a question can end with: `is the door open`."""
COMPARISONS = _words(
    "bigger, biggest, larger, largest, smaller, smallest, taller, tallest, shorter, shortest, longer, longest, older, "
    "oldest, younger, youngest, darker, darkest, lighter, lightest, same color, same colour, same size, same shape, "
    "same height, same length"
)
PICTURE = _words("picture, photo, photograph, image, scene, background")
"""Words of questions about the photograph as a whole."""
READING = _words("number, numbers, letter, letters, word, words, name, brand, time, date, logo, written")
"""Words of questions that ask to read what is written."""

_BE = "(?:is|are|was|were)"
_DETERMINER = r"(?:the|an?|this|that|these|those|his|her|its|their|my|your|each|another|him|it|them|left|right)\b"
_SOMETHING = (
    r"(?:(?:the|an?|any|all|both|his|her|their|someone|anyone|everyone|people|he|she|they)\b"
    r"|(?:this|that|these|those) \w+)"
)
_LONGEST = 500
"""Characters from which on a text is no question of this benchmark; the patterns may take quadratic time."""


def _any_of(words: Sequence[str]) -> str:
    """A pattern for any of these words, the longest first, so that `left of` is not read as `left`."""
    return f"(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})"


@dataclass(frozen=True)
class Rule:
    """One way to recognise a question of the subset; patterns are about `plain(question)`."""

    name: str
    kind: Literal["relation", "attribute"]
    """What must be understood to answer."""
    start: str
    """Pattern of the question's first words."""
    why: str
    words: tuple[str, ...] = ()
    """Head words of which one must come later; none: the start decides alone."""
    after: str = ""
    """Pattern of what must follow the head word."""
    without: tuple[str, ...] = ()
    """Words that the question must not contain."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The whole rule as one pattern, to be matched from the question's first character."""
        never = rf"(?!.*\b{_any_of(self.without)}\b)" if self.without else ""
        head = rf".*?\b{_any_of(self.words)}\b{self.after}" if self.words else ""
        return re.compile(rf"{never}(?:{self.start})\b{head}")


RULES = (
    Rule("colour", "attribute", r"(?:what|which)(?: \w+){0,3} colou?rs?", "asks for the colour of a named thing"),
    Rule(
        "material",
        "attribute",
        r"what (?:is|are) .+ made (?:out )?of|(?:what|which)(?: \w+){0,3} (?:material|fabric)",
        "asks what a named thing is made of",
    ),
    Rule(
        "what is where",
        "relation",
        rf"(?:what|which|who)(?: \w+){{0,2}} {_BE} {_any_of(PLACES)} {_DETERMINER}",
        "asks for a thing that is named only by its place",
        without=("pattern", "design", *READING, *PICTURE),
    ),
    Rule(
        "shape",
        "attribute",
        r"(?:what|which)(?: \w+){0,3} (?:shape|pattern|texture|size)",
        "asks for shape, pattern or size of a named thing",
    ),
    Rule(
        "where",
        "relation",
        rf"where {_BE} {_SOMETHING}",
        "asks for the place of a named thing",
        without=("taken", "going", "headed", "from", *PICTURE),
    ),
    Rule("side", "relation", r"(?:on |to |in |from )?(?:which|what) (?:side|hand|direction)", "asks for a side"),
    Rule(
        "which where",
        "relation",
        "which|who|whose",
        "tells things apart by their place",
        PLACES,
        rf" {_DETERMINER}",
        without=PICTURE,
    ),
    Rule(
        "what acts",
        "relation",
        rf"(?:what|which)(?: \w+){{0,3}} {_BE} {_SOMETHING}",
        "asks for the thing that something acts on",
        ACTS,
    ),
    Rule(
        "place check",
        "relation",
        rf"{_BE} (?:there )?{_SOMETHING}",
        "asks whether a thing is at a place",
        PLACES,
        rf" {_DETERMINER}",
        without=PICTURE,
    ),
    Rule("act check", "relation", rf"{_BE} {_SOMETHING}", "asks whether a thing acts on another", ACTS, r" \w+"),
    Rule("comparison", "attribute", rf"which|who|what|{_BE}", "compares an attribute of two things", COMPARISONS),
    Rule(
        "colour check",
        "attribute",
        rf"{_BE} (?:{_SOMETHING}|it|this|that)",
        "asks whether a thing has a colour",
        COLOURS,
        r"(?: (?:or|and) \w+)*$",
    ),
    Rule(
        "quality check",
        "attribute",
        rf"{_BE} (?:{_SOMETHING}|it|this|that)",
        "asks whether a thing has an attribute",
        QUALITIES,
        r"(?: (?:or|and) \w+)*$",
    ),
)
"""The subset, rule by rule: the first one that fits a question decides."""


def plain(question: str) -> str:
    """The question in lower case with single spaces and without the mark at its end."""
    return " ".join(question.lower().split()).rstrip(" ?.!")


def find_rule(question: str) -> Rule | None:
    """The first rule that the question fits; None when it is not in the subset."""
    text = plain(question)
    if len(text) > _LONGEST:
        return None
    return next((rule for rule in RULES if rule.pattern.match(text)), None)


def asks_yes_or_no(question: str) -> bool:
    """Whether the question can, by its form, only be answered yes or no: it starts with a verb and offers no choice."""
    text = plain(question)
    verb = rf"(?:{_BE}|do|does|did|can|could|has|have|had|will|would|should)\b"
    return re.match(verb, text) is not None and " or " not in text


class Sentence(NamedTuple):
    """A question and an answer as one sentence."""

    text: str
    template: str
    """Which template made it."""


@dataclass(frozen=True)
class Template:
    """Turns questions of one form into sentences: named groups of the pattern are put into the sentence."""

    name: str
    pattern: re.Pattern[str]
    sentence: str
    negated: str = ""
    """The sentence for the answer no; only templates of yes-or-no questions have one."""


def _template(name: str, pattern: str, sentence: str, negated: str = "") -> Template:
    return Template(name, re.compile(pattern), sentence, negated)


_VERB = rf"(?P<be>{_BE})"
_QUALITY = rf"(?:{_any_of(COLOURS + QUALITIES)}(?: and \w+)*|(?:the )?{_any_of(COMPARISONS)}.*)"
TEMPLATES = (
    _template(
        "colour of what acts",
        rf"what colou?rs? (?P<what>.+? )?{_VERB} (?P<who>.+) (?P<act>{_any_of(ACTS)})",
        "{who} {be} {act} {answer} {what}",
    ),
    _template("colour", rf"(?:what|which) colou?rs? {_VERB} (?P<thing>.+)", "{thing} {be} {answer}"),
    _template("colour of", rf"what {_VERB} the (?:\w+ )?colou?rs? of (?P<thing>.+)", "{thing} {be} {answer}"),
    _template("made of", rf"what {_VERB} (?P<thing>.+) made (?:out )?of", "{thing} {be} made of {answer}"),
    _template(
        "what is where",
        rf"(?:what|which|who)(?: \w+){{0,2}} {_VERB} (?P<place>{_any_of(PLACES)} {_DETERMINER}.*)",
        "{answer} {be} {place}",
    ),
    _template(
        "quality",
        rf"what (?P<quality>shape|size|pattern|texture|material|fabric) {_VERB} (?P<thing>.+)",
        "the {quality} of {thing} {be} {answer}",
    ),
    _template("compared", rf"where {_VERB} (?P<thing>.+) compared to (?P<other>.+)", "{thing} {be} {answer} {other}"),
    _template("where", rf"where {_VERB} (?P<thing>.+)", "{thing} {be} {answer}"),
    _template(
        "what acts",
        rf"what(?: \w+){{0,3}}? {_VERB} (?P<who>{_SOMETHING}.*?) (?P<act>{_any_of(ACTS)})(?P<rest> .+)?",
        "{who} {be} {act} {answer} {rest}",
    ),
    _template("is there", rf"{_VERB} there (?:any )?(?P<thing>.+)", "there {be} {thing}", "there {be} not {thing}"),
    _template(
        "is it so",
        rf"(?!.* or ){_VERB} (?P<thing>.+?) (?P<so>{_any_of(PLACES + ACTS)} .+|{_QUALITY})",
        "{thing} {be} {so}",
        "{thing} {be} not {so}",
    ),
)
"""Forms of questions in the spirit of Song et al. 2022 (arXiv:2203.07190), who turn questions into statements for
CLIP; the first one that fits is used."""
FALLBACK = "question and answer"
"""Template of every other question: `question: ... answer: ...` (Shen et al. 2021, arXiv:2107.06383)."""


def sentence(question: str, answer: str) -> Sentence:
    """What an answer says of the image, as a sentence without final full stop.

    `is the cat on the bed?` with `no` gives `the cat is not on the bed`.
    """
    text, given = plain(question), " ".join(answer.lower().split())
    decided = given in ("yes", "no")
    for template in TEMPLATES if len(text) <= _LONGEST else ():
        found = template.pattern.fullmatch(text) if decided == bool(template.negated) else None
        if found:
            form = template.negated if given == "no" else template.sentence
            return Sentence(" ".join(form.format(**found.groupdict(""), answer=given).split()), template.name)
    return Sentence(f"question: {text} answer: {given}", FALLBACK)
