"""Captions of a scene in varied syntax, each with its gold Penn Treebank brackets.

A caption is written as a bracket string; its text is the words of the tree. The brackets carry the gold tags and
phrases, and `vialign.data.treebanks.penn` derives the gold dependencies from them by head rules.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from vialign.data.scenes.world import CONVERSE, SEEN, Scene, Thing, relations

SYNONYMS = {
    "circle": "disc",
    "square": "box",
    "ring": "hoop",
    "diamond": "rhombus",
    "red": "crimson",
    "purple": "violet",
    "small": "little",
    "large": "big",
    "dotted": "spotted",
    "above": "over",
    "below": "under",
    "inside": "within",
    "larger": "bigger",
}
"""Another word for the same thing: rare inside the domain, usual in the cross-domain variant."""


@dataclass(frozen=True)
class Style:
    """How freely captions are worded."""

    synonyms: float = 0.12
    """Chance that a word is replaced by its synonym."""
    omit_colour: float = 0.03
    mention_size: float = 0.6
    mention_texture: float = 0.9


DOMAIN = Style()
COARSE = Style(omit_colour=0.05, mention_size=0.5, mention_texture=0.8)
"""Of the pretraining captions."""
CROSS_DOMAIN = Style(synonyms=0.7)
EXACT = Style(synonyms=0.0, omit_colour=0.0, mention_size=0.0, mention_texture=0.0)
"""Colour and shape only: the wording of the diagnostics."""


def tree_text(tree: str) -> str:
    """The words of a bracket string as running text."""
    words = re.findall(r"\s([^\s()]+)\)", tree)
    return " ".join(words).replace(" ,", ",")


def noun_phrase(rng: np.random.Generator, thing: Thing, style: Style, determiner: str = "a") -> str:
    """`(NP (DT a) (JJ red) (NN circle))`, with size and texture where the style mentions them."""
    adjectives = []
    if thing.size_word is not None and rng.random() < style.mention_size:
        adjectives.append(thing.size_word)
    if thing.texture != "plain" and rng.random() < style.mention_texture:
        adjectives.append(thing.texture)
    if rng.random() >= style.omit_colour:
        adjectives.append(thing.colour)
    words = [_word(rng, word, style) for word in (*adjectives, thing.shape)]
    if determiner == "a" and words[0][0] in "aeiou":
        determiner = "an"
    inner = " ".join([f"(DT {determiner})", *(f"(JJ {word})" for word in words[:-1]), f"(NN {words[-1]})"])
    return f"(NP {inner})"


_VERBS = {
    "joined to": ("is joined to", "joined to"),
    "points at": ("points at", "pointing at"),
    "hides": ("hides", "hiding"),
    "matches": ("matches", "matching"),
}
"""How each of `SEEN` is said in a sentence, and behind a noun."""


def worded(style: Style, predicate: str) -> Style:
    """The style of the two things that a predicate is said of: without colours where the colours would tell it."""
    return replace(style, omit_colour=1.0) if predicate == "matches" else style


def relation_phrase(rng: np.random.Generator, predicate: str, other: str, style: Style) -> str:
    """The phrase that says `predicate` of the noun phrase `other`, behind a noun or `is`."""
    if predicate in SEEN:
        return _verb_phrase(_VERBS[predicate][1], other)
    if predicate in ("left of", "right of"):
        side = predicate.split()[0]
        if rng.random() < 0.5:
            return f"(PP (TO to) (NP (NP (DT the) (NN {side})) (PP (IN of) {other})))"
        return f"(ADVP (RB {side}) (PP (IN of) {other}))"
    if predicate in ("larger than", "smaller than"):
        word = _word(rng, predicate.split()[0], style)
        return f"(ADJP (JJR {word}) (PP (IN than) {other}))"
    if predicate == "on" and rng.random() < 0.4:
        return f"(PP (IN on) (NP (NP (NN top)) (PP (IN of) {other})))"
    return f"(PP (IN {_word(rng, predicate, style)}) {other})"


def relation_caption(rng: np.random.Generator, subject: Thing, predicate: str, other: Thing, style: Style) -> str:
    """A sentence or a noun phrase that says one relation; now and then by its converse."""
    if rng.random() < 0.2:
        subject, predicate, other = _converse(rng, subject, predicate, other)
        own = worded(style, predicate)
        first, second = noun_phrase(rng, subject, own), noun_phrase(rng, other, own)
        return f"(NP {first} {relation_phrase(rng, predicate, second, style)})"
    return clause(rng, subject, predicate, other, style)


def clause(rng: np.random.Generator, subject: Thing, predicate: str, other: Thing, style: Style) -> str:
    """A whole sentence that says one relation; now and then by its converse."""
    subject, predicate, other = _converse(rng, subject, predicate, other)
    own = worded(style, predicate)
    first, second = noun_phrase(rng, subject, own), noun_phrase(rng, other, own)
    if predicate in SEEN and rng.random() < 0.7:
        return f"(S {first} {_verb_phrase(_VERBS[predicate][0], second)})"
    phrase = relation_phrase(rng, predicate, second, style)
    if predicate in SEEN:
        return f"(S (NP (EX there)) (VP (VBZ is) (NP {first} {phrase})))"
    spatial = predicate not in ("larger than", "smaller than")
    form = str(rng.choice(["is", "there", "verb", "inverted"] if spatial else ["is"]))
    if form == "is":
        return f"(S {first} (VP (VBZ is) {phrase}))"
    if form == "there":
        return f"(S (NP (EX there)) (VP (VBZ is) (NP {first} {phrase})))"
    if form == "verb":
        return f"(S {first} (VP (VBZ {rng.choice(['sits', 'lies', 'stands'])}) {phrase}))"
    return f"(S {phrase} (NP (EX there)) (VP (VBZ is) {first}))"


def with_rest(rng: np.random.Generator, said: str, rest: list[Thing], style: Style) -> str:
    """`..., and there is a green star and a white heart`: a sentence, then the things that it leaves out."""
    short = replace(style, mention_size=0.0, mention_texture=0.0)
    phrases = [noun_phrase(rng, rest[k], short) for k in rng.permutation(len(rest))]
    named = phrases[0] if len(phrases) == 1 else f"(NP {' (, ,) '.join(phrases[:-1])} (CC and) {phrases[-1]})"
    return f"(S {said} (, ,) (CC and) (S (NP (EX there)) (VP (VBZ is) {named})))"


def list_caption(rng: np.random.Generator, things: list[Thing], style: Style) -> str:
    """`a red circle, a blue square and a green star`: which concepts are there, not how they combine."""
    phrases = [noun_phrase(rng, things[k], style) for k in rng.permutation(len(things))]
    if len(phrases) == 1:
        if rng.random() < 0.5:
            return f"(S (NP (EX there)) (VP (VBZ is) {phrases[0]}))"
        return phrases[0]
    head = " (, ,) ".join(phrases[:-1])
    return f"(NP {head} (CC and) {phrases[-1]})"


def scene_captions(rng: np.random.Generator, scene: Scene, style: Style = DOMAIN) -> list[str]:
    """Five captions, as bracket strings: the main relation, the list of all things, and three that say a relation (the
    main one twice) and name what it leaves out.
    """
    if scene.main is None:
        return [list_caption(rng, list(scene.things), style) for _ in range(5)]
    true = relations(scene)
    return _five_captions(rng, scene, scene.main, true[int(rng.integers(len(true)))], style)


def coarse_captions(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Captions in the same wordings that name the things rightly and combine them blindly, for pretraining.

    The pair, its order and its predicate are drawn without a look at the scene, so a model can learn from them which
    concepts an image holds, and nothing about their relations, while every relation word stays in its vocabulary.
    """
    if scene.main is None:
        return [list_caption(rng, list(scene.things), COARSE) for _ in range(5)]
    blind = []
    for _ in range(2):
        subject, other = rng.permutation(len(scene.things))[:2]
        blind.append((int(subject), str(rng.choice(scene.predicates)), int(other)))
    return _five_captions(rng, scene, blind[0], blind[1], COARSE)


def truthful_captions(rng: np.random.Generator, scene: Scene) -> list[str]:
    """`coarse_captions` with a relation that holds in the scene wherever those draw one, for the second backbone."""
    return scene_captions(rng, scene, COARSE)


def _five_captions(
    rng: np.random.Generator, scene: Scene, main: tuple[int, str, int], second: tuple[int, str, int], style: Style
) -> list[str]:
    things = list(scene.things)

    def whole(relation: tuple[int, str, int]) -> str:
        i, predicate, j = relation
        rest = [thing for k, thing in enumerate(things) if k not in (i, j)]
        if not rest:
            return relation_caption(rng, things[i], predicate, things[j], style)
        return with_rest(rng, clause(rng, things[i], predicate, things[j], style), rest, style)

    i, predicate, j = main
    return [
        relation_caption(rng, things[i], predicate, things[j], style),
        whole(main),
        list_caption(rng, things, style),
        whole(second),
        whole(main),
    ]


def _converse(rng: np.random.Generator, subject: Thing, predicate: str, other: Thing) -> tuple[Thing, str, Thing]:
    """The relation, or in one case of four the same said the other way round."""
    if predicate in CONVERSE and rng.random() < 0.25:
        return other, CONVERSE[predicate], subject
    return subject, predicate, other


def statement(subject: Thing, predicate: str, other: Thing) -> str:
    """`the red circle is above the blue square`, in one fixed wording, for the diagnostics."""
    rng = np.random.default_rng(0)
    phrase = {"left of": "to the left of", "right of": "to the right of"}.get(predicate, predicate)
    style = worded(EXACT, predicate)
    first = tree_text(noun_phrase(rng, subject, style, "the"))
    second = tree_text(noun_phrase(rng, other, style, "the"))
    return f"{first} {_VERBS[predicate][0] if predicate in SEEN else f'is {phrase}'} {second}"


def _verb_phrase(verb: str, other: str) -> str:
    """`(VP (VBZ points) (PP (IN at) OTHER))` for `points at`, and so on."""
    tags = {"is": "VBZ", "joined": "VBN", "pointing": "VBG", "hiding": "VBG", "matching": "VBG"}
    phrase = other
    for word in reversed(verb.split()):
        if word in ("to", "at"):
            phrase = f"(PP ({'TO' if word == 'to' else 'IN'} {word}) {phrase})"
        else:
            phrase = f"(VP ({tags.get(word, 'VBZ')} {word}) {phrase})"
    return phrase


def _word(rng: np.random.Generator, word: str, style: Style) -> str:
    if word in SYNONYMS and rng.random() < style.synonyms:
        return SYNONYMS[word]
    return word
