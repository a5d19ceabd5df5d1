"""Phrase units of a text: entities, their attributes, and the relations between them, read from a parse.

Only parts of speech and dependencies are used (labels of `vialign.data.treebanks.head_rules`), so the same rules serve
drawn scenes and real captions. Three short lists of function words name what syntax alone cannot tell: copulas,
auxiliaries and the relational nouns of complex prepositions (`to the left of`).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from vialign.data.treebanks.head_rules import AUXILIARIES, COPULAS
from vialign.data.treebanks.penn import ADJECTIVES, NOUNS, VERBS, word_set
from vialign.progress import track
from vialign.tables.language import UNITS

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Token

RELATIONAL_NOUNS = word_set(
    "left right top bottom front back rear side sides middle center centre edge corner inside outside end"
)
"""Nouns that, governed by a preposition, are a part of it: `in front of`, `on the left side of`."""

_INSIDE_NOUN_PHRASE = frozenset(("det", "amod", "compound", "nummod", "advmod", "npadvmod", "quantmod", "nmod"))
_PREPOSITIONS = frozenset(("IN", "TO", "RP"))
_ADVERBS = frozenset(("RB", "RBR", "RBS"))
MODIFIERS = ADJECTIVES | {"VBN", "VBG"}
"""Parts of speech of a word that can be an attribute."""
_CLAUSE_LINKS = frozenset(("conj", "xcomp", "ccomp", "advcl", "dep", "pcomp", "aux", "parataxis"))


class Unit(NamedTuple):
    """One row of UNITS without its text: characters [start, end) and references to other units of the text."""

    kind: str
    start: int
    end: int
    head_start: int
    head_end: int
    subject: int = -1
    object: int = -1


class _Relation(NamedTuple):
    first: int
    """First token of the span."""
    last: int
    """Last token of the span."""
    head: int
    subject: int | None
    """Head token of the subject's entity."""
    object: int | None


def extract_units(texts: pd.DataFrame, nlp: "Language", *, batch: int = 256) -> tuple[pd.DataFrame, int]:
    """Units of every text of a frame with `text_id` and `text`, and how many texts needed the fallback.

    A text in which no entity, attribute or relation is found is one entity as a whole (the fallback), so that every
    text has at least one unit. Raises ValueError for a text without any visible character.
    """
    rows: list[tuple[object, ...]] = []
    fallbacks = 0
    names, plain = texts["text_id"].tolist(), texts["text"].tolist()
    read = track(read_units(plain, nlp, batch=batch), "parse texts", len(plain))
    for text_id, text, found in zip(names, plain, read, strict=True):
        fallbacks += not found
        rows += [(text_id, number, *unit) for number, unit in enumerate(found or [whole_text(text, str(text_id))])]
    frame = pd.DataFrame(rows, columns=list(UNITS.columns)) if rows else UNITS.empty()
    return frame, fallbacks


def read_units(texts: Sequence[str], nlp: "Language", *, batch: int = 256) -> Iterator[list[Unit]]:
    """Units of every text in turn; none where no entity, attribute or relation is found."""
    return map(units_of, nlp.pipe(texts, batch_size=batch, n_process=1))


def units_or_whole(texts: Sequence[str], names: Sequence[str], nlp: "Language") -> tuple[list[list[Unit]], list[bool]]:
    """As `extract_units`, of texts in memory, which `names` call in an error, and in which of them a unit was found.

    Raises ValueError as it does.
    """
    found = list(read_units(texts, nlp))
    units = [own or [whole_text(text, name)] for text, name, own in zip(texts, names, found, strict=True)]
    return units, [bool(own) for own in found]


def whole_text(text: str, text_id: str) -> Unit:
    """The whole text, without surrounding space, as one entity."""
    stripped = text.strip()
    if not stripped:
        raise ValueError(f"text {text_id!r} is empty")
    start = text.index(stripped)
    return Unit("entity", start, start + len(stripped), start, start + len(stripped))


def units_of(doc: "Doc") -> list[Unit]:
    """Units of a parsed text in order of their first character; an entity comes before the attribute it starts with.

    *Entity*: a base noun phrase, from its first determiner or modifier to its head noun; pronouns and the relational
    nouns of complex prepositions are none. *Attribute*: an adjective or participle that modifies an entity, or is said
    of it (`the star is red`). *Relation*: a preposition, comparative or verb with what it is said of (`subject`) and
    towards (`object`); copulas and auxiliaries are left out of its span. A verb without object (`a dog runs`) is a
    relation with `object` -1; a preposition always has one.
    """
    entities = _entities(doc)
    relations = list(_relations(doc, entities))
    taken = {i for relation in relations for i in range(relation.first, relation.last + 1)}
    attributes = [pair for pair in _attributes(doc, entities) if pair[0] not in taken]

    spans: list[tuple[int, int, str, int, int | None, int | None]] = [
        (start, head, "entity", head, None, None) for head, start in entities.items()
    ]
    spans += [(_modifier_start(doc[word]), word, "attribute", word, noun, None) for word, noun in attributes]
    spans += [(r.first, r.last, "relation", r.head, r.subject, r.object) for r in relations]
    order = {"entity": 0, "attribute": 1, "relation": 2}
    spans.sort(key=lambda span: (span[0], order[span[2]], span[1]))
    number = {span[3]: place for place, span in enumerate(spans) if span[2] == "entity"}
    return [
        Unit(
            kind,
            doc[first].idx,
            _end(doc[last]),
            doc[head].idx,
            _end(doc[head]),
            -1 if subject is None else number[subject],
            -1 if target is None else number[target],
        )
        for first, last, kind, head, subject, target in spans
    ]


def _end(token: "Token") -> int:
    return token.idx + len(token.text)


def _entities(doc: "Doc") -> dict[int, int]:
    """First token of each entity by its head noun; a noun inside another's noun phrase is a part of that entity."""
    starts = {token.i: _noun_phrase_start(token) for token in doc if _is_entity(token)}
    inside = {i for head, start in starts.items() for i in range(start, head)}
    return {head: start for head, start in starts.items() if head not in inside}


def _is_entity(token: "Token") -> bool:
    named = token.tag_ in NOUNS and any(character.isalnum() for character in token.text)
    return named and token.dep_ != "compound" and not is_relational(token)


def is_relational(token: "Token") -> bool:
    """Whether a noun is a part of a complex preposition, such as `left` in `to the left of`."""
    governed = token.dep_ == "pobj" and token.head.tag_ in _PREPOSITIONS
    return governed and token.lower_ in RELATIONAL_NOUNS


def _noun_phrase_start(noun: "Token") -> int:
    """First token of the base noun phrase: the modifiers that reach up to the noun without a gap."""
    start = noun.i
    for child in reversed(list(noun.lefts)):
        inside = child.dep_ in _INSIDE_NOUN_PHRASE or child.tag_ in ("PRP$", "WP$")
        joint = child.dep_ in ("punct", "cc") and any(
            c.dep_ in _INSIDE_NOUN_PHRASE and c.i < child.i for c in noun.lefts
        )
        if not (inside or joint) or child.right_edge.i != start - 1:
            break
        if any(token.tag_ in _PREPOSITIONS for token in child.subtree):
            break
        start = child.left_edge.i
    return start


def _modifier_start(word: "Token") -> int:
    """First token of an adjective with its own adverbs: `very large`, `dark blue`."""
    start = word.i
    for child in reversed(list(word.lefts)):
        if child.dep_ not in ("advmod", "npadvmod", "amod") or child.right_edge.i != start - 1:
            break
        start = child.left_edge.i
    return start


def _attributes(doc: "Doc", entities: dict[int, int]) -> Iterator[tuple[int, int]]:
    """(attribute, entity) tokens; several adjectives of one noun are several attributes."""
    for token in doc:
        if token.tag_ not in MODIFIERS:
            continue
        word = token
        while word.dep_ == "conj" and word.head.tag_ in MODIFIERS:
            word = word.head
        if word.dep_ == "amod" and word.head.i in entities:
            yield token.i, word.head.i
        elif word.dep_ == "acomp" and token.tag_ in ADJECTIVES:
            subject = _subject_of_verb(word.head, entities)
            if subject is not None:
                yield token.i, subject


def _relations(doc: "Doc", entities: dict[int, int]) -> Iterator[_Relation]:
    merged: set[int] = set()
    for token in doc:
        if token.tag_ not in _PREPOSITIONS or token.dep_ not in (
            "prep",
            "conj",
            "advmod",
            "ROOT",
            "dep",
            "mark",
            "prt",
        ):
            continue
        if token.tag_ == "TO" and any(child.tag_ == "VB" for child in (token.head, *token.children)):
            continue
        relation = _prepositional(doc, token, entities, merged)
        if relation is not None:
            if doc[relation.head].tag_ in VERBS:
                merged.add(relation.head)
            yield relation
    for token in doc:
        if token.i in merged or not _is_content_verb(token):
            continue
        target = _object_of_verb(token, entities)
        last = max(
            (child.i for child in token.rights if child.dep_ == "prt" and child.i == token.i + 1), default=token.i
        )
        subject = _subject_of_verb(token, entities)
        if subject is None and target is None:
            continue
        yield _Relation(token.i, last, token.i, subject, target)


def _prepositional(doc: "Doc", token: "Token", entities: dict[int, int], merged: set[int]) -> _Relation | None:
    """The relation whose outermost preposition is `token`; None when it has no entity as object."""
    if token.head.tag_ in _PREPOSITIONS and token.dep_ in ("prep", "advmod", "prt") and token.head.i < token.i:
        return None
    if is_relational(token.head):
        return None
    last, target = _object_of_preposition(token, entities)
    if target is None or any(i in entities for i in range(token.i, last)):
        return None
    head, first = token, _modifier_left_of_preposition(token)
    governor = token.head
    while token.dep_ == "conj" and governor.tag_ in _PREPOSITIONS and governor.head.i != governor.i:
        governor = governor.head
    if governor.tag_ in ADJECTIVES | _ADVERBS and governor.i < token.i and _adjacent(doc, governor.i, first):
        head, first = governor, _modifier_start(governor)
        if governor.tag_ in ADJECTIVES and governor.dep_ == "amod" and governor.head.i > token.i:
            return None
        governor = governor.head
    if (
        _is_content_verb(governor)
        and governor.i < first
        and governor.i not in merged
        and _adjacent(doc, governor.i, first)
        and _object_of_verb(governor, entities) is None
    ):
        return _Relation(governor.i, last, governor.i, _subject_of_verb(governor, entities), target)
    subject = _subject_of(governor, entities)
    return None if subject == target else _Relation(first, last, head.i, subject, target)


def _modifier_left_of_preposition(token: "Token") -> int:
    """First token of what stands directly before a preposition and belongs to it: `left of`, `right above`."""
    start = token.i
    for child in reversed(list(token.lefts)):
        if child.dep_ in ("punct", "cc", "mark") or child.right_edge.i != start - 1:
            break
        start = child.left_edge.i
    return start


def _adjacent(doc: "Doc", left: int, right: int) -> bool:
    """Whether only particles and adverbs stand between two tokens."""
    return all(doc[i].tag_ in _ADVERBS | {"RP", "IN", "TO"} for i in range(left + 1, right))


def _object_of_preposition(token: "Token", entities: dict[int, int]) -> tuple[int, int | None]:
    """Last token of a simple or complex preposition, and its object: `to the left of` Y, `from behind` Y."""
    for child in token.rights:
        if child.dep_ == "pobj" and child.i in entities:
            return token.i, child.i
        if child.dep_ in ("prep", "advmod", "prt") and child.tag_ in _PREPOSITIONS:
            last, target = _object_of_preposition(child, entities)
            if target is not None and child.i == token.i + 1:
                return last, target
        if is_relational(child):
            for inner in child.rights:
                if inner.tag_ in _PREPOSITIONS:
                    last, target = _object_of_preposition(inner, entities)
                    if target is not None:
                        return last, target
    return token.i, None


def _is_content_verb(token: "Token") -> bool:
    if token.tag_ not in VERBS or token.lower_ in COPULAS or token.dep_ in ("amod", "compound", "aux", "auxpass"):
        return False
    return not (
        token.lower_ in AUXILIARIES and any(child.tag_ in VERBS for child in token.rights if child.dep_ != "acl")
    )


def _object_of_verb(verb: "Token", entities: dict[int, int]) -> int | None:
    return next((c.i for c in verb.rights if c.dep_ in ("dobj", "attr", "dative") and c.i in entities), None)


def _subject_of(governor: "Token", entities: dict[int, int]) -> int | None:
    """The entity that a modifier of `governor` is said of."""
    if governor.i in entities:
        return governor.i
    if governor.tag_ in VERBS or governor.dep_ == "ROOT":
        return _subject_of_verb(governor, entities)
    return None


def _subject_of_verb(verb: "Token", entities: dict[int, int]) -> int | None:
    """Subject of a verb: its own, after it in `below X there is Y`, or that of the clause or noun it depends on."""
    seen: set[int] = set()
    while verb.i not in seen:
        seen.add(verb.i)
        own = [child.i for child in verb.children if child.dep_ in ("nsubj", "nsubjpass") and child.i in entities]
        if own:
            return own[0]
        if verb.lower_ in COPULAS:
            after = [child.i for child in verb.rights if child.dep_ in ("attr", "dobj") and child.i in entities]
            if after:
                return after[0]
        if verb.head.i in entities and verb.dep_ in ("acl", "relcl", "amod", "dep", "ccomp", "appos", "advcl", "xcomp"):
            return verb.head.i
        if verb.dep_ not in _CLAUSE_LINKS or verb.head.tag_ not in VERBS | _PREPOSITIONS:
            return None
        verb = verb.head
    return None
