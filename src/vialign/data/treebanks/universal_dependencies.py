"""Universal Dependencies: the CoNLL-U reader, and its trees in the form that the rest of the project uses.

Format: https://universaldependencies.org/format.html. In UD a noun governs its preposition and a predicate its copula;
`function_heads` turns this round, as in Surface-Syntactic UD (Gerdes et al. 2018), so that trees of both treebank
families have the labels of `vialign.data.treebanks.head_rules`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vialign.data.treebanks.head_rules import ROOT
from vialign.data.treebanks.penn import ADJECTIVES, NOUNS, Sentence, word_set
from vialign.errors import UserError
from vialign.files.text import text_lines

_FIELDS = 10
_LABELS = {
    "root": ROOT,
    "nsubj": "nsubj",
    "csubj": "ccomp",
    "obj": "dobj",
    "iobj": "dative",
    "obl": "npadvmod",
    "nmod": "npadvmod",
    "nmod:poss": "poss",
    "acl:relcl": "relcl",
    "advcl:relcl": "relcl",
    "cop": "aux",
    "compound:prt": "prt",
    "flat": "compound",
    "goeswith": "compound",
    "case": "case",
    "obl:agent": "npadvmod",
}
_KEPT = word_set("det amod nummod compound aux advmod mark cc conj punct acl advcl ccomp xcomp appos expl case")


@dataclass(slots=True)
class _Word:
    form: str
    tag: str
    head: int
    """Number of the governing word, from 1; 0 for the root."""
    relation: str
    space: bool


def conllu_files(folder: Path, part: str) -> list[Path]:
    """The files of `train`, `dev` or `test` in a folder. Raises UserError when there is none."""
    files = sorted(folder.rglob(f"*-{part}.conllu"))
    if not files:
        raise UserError(f"{folder}: no file *-{part}.conllu; set language.folder to a Universal Dependencies folder")
    return files


def read_conllu(path: str | Path) -> list[Sentence]:
    """Sentences of a `.conllu` file with function words as heads.

    Multiword tokens are read as their words (`don't` as `do`, `n't`), without a space between; empty nodes are left
    out. Raises UserError naming the file and the line of a broken row.
    """
    lines = (line for _, line in text_lines(path))
    return [_sentence(words) for words in _blocks(lines, str(path))]


def _blocks(lines: Iterable[str], source: str) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    first = 1
    multiword: tuple[int, bool] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            if words:
                _check_tree(words, source, first)
                yield words
            words, multiword = [], None
            continue
        if line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != _FIELDS:
            raise UserError(f"{source}, line {number}: {len(fields)} fields where 10 are expected; separate by tabs")
        first = number if not words else first
        identifier, space = fields[0], "SpaceAfter=No" not in fields[9].split("|")
        if "-" in identifier:
            multiword = (_number(identifier.split("-")[1], "ID", source, number), space)
            continue
        if "." in identifier:
            continue
        place = _number(identifier, "ID", source, number)
        if place != len(words) + 1:
            raise UserError(f"{source}, line {number}: word {place} follows word {len(words)}; number them from 1")
        if multiword is not None:
            space = multiword[1] if place == multiword[0] else False
            multiword = None if place >= multiword[0] else multiword
        tag = fields[4] if fields[4] != "_" else fields[3]
        words.append(_Word(fields[1], tag, _number(fields[6], "HEAD", source, number), fields[7], space))
    if words:
        _check_tree(words, source, first)
        yield words


def _number(text: str, field: str, source: str, line: int) -> int:
    if not text.isdigit():
        raise UserError(f"{source}, line {line}: field {field} is {text!r}; a whole number is expected")
    return int(text)


def _check_tree(words: list[_Word], source: str, first: int) -> None:
    roots = [word for word in words if word.head == 0]
    if len(roots) != 1:
        raise UserError(f"{source}, line {first}: the sentence has {len(roots)} roots; exactly one HEAD must be 0")
    for place in range(1, len(words) + 1):
        steps, current = 0, place
        while current != 0 and steps <= len(words):
            if current > len(words):
                raise UserError(f"{source}, line {first}: HEAD {current} names no word of the sentence")
            current, steps = words[current - 1].head, steps + 1
        if current != 0:
            raise UserError(f"{source}, line {first}: the heads of word {place} run in a circle")


def _sentence(words: list[_Word]) -> Sentence:
    heads = [word.head - 1 if word.head else place for place, word in enumerate(words)]
    labels = [_plain_label(word.relation) for word in words]
    tags = [word.tag for word in words]
    heads, labels = function_heads(heads, labels, [word.relation.split(":")[0] for word in words], tags)
    spaces = [word.space for word in words[:-1]] + [False]
    return Sentence([word.form for word in words], tags, heads, labels, spaces)


def _plain_label(relation: str) -> str:
    base = relation.split(":")[0]
    plain = _LABELS.get(relation, _LABELS.get(base))
    return plain if plain is not None else base if base in _KEPT else "dep"


def function_heads(
    heads: list[int], labels: list[str], relations: list[str], tags: list[str]
) -> tuple[list[int], list[str]]:
    """Heads and labels with prepositions governing their nouns and copulas their predicates.

    `heads` are positions, the root its own; `relations` the UD relations without subtype. Possessive 's stays a
    dependent. Coordinating conjunctions are attached to the first conjunct.
    """
    heads, labels = list(heads), list(labels)
    content = list(heads)
    top = list(range(len(heads)))
    """Word that now stands for each content word's phrase."""
    for place, relation in enumerate(relations):
        second = content[place]
        opens = relation == "punct" and place + 1 < second and "cc" in relations[place + 1 : second]
        if relations[second] == "conj" and (relation == "cc" or opens):
            heads[place] = content[second]
    for noun in range(len(heads)):
        prepositions = [
            place
            for place, relation in enumerate(relations)
            if relation == "case"
            and content[place] == noun
            and tags[place] in ("IN", "TO", "RB", "RP", "VBG", "VBN", "JJ")
        ]
        for place in sorted(prepositions, key=lambda place: abs(place - noun)):
            _promote(heads, labels, place, top, noun, "pobj" if top[noun] == noun else "prep")
    for predicate in range(len(heads)):
        copulas = [p for p, relation in enumerate(relations) if relation == "cop" and content[p] == predicate]
        if copulas:
            old = top[predicate]
            label = "prep" if old != predicate else _predicate_label(tags[predicate])
            _promote(heads, labels, copulas[0], top, predicate, label)
            _move_clause(heads, labels, predicate, copulas[0], old)
    _conjoin_promoted(heads, labels, content, relations, top)
    return heads, labels


def _promote(heads: list[int], labels: list[str], place: int, top: list[int], word: int, label: str) -> None:
    """Put the function word at `place` over the phrase of `word`; the phrase's place in the sentence passes to it."""
    old = top[word]
    outer = labels[old]
    heads[place] = heads[old] if heads[old] != old else place
    preposition = label in ("pobj", "prep") and outer in ("npadvmod", "dobj", "nsubj", "dep", "prep", "attr")
    labels[place] = "prep" if preposition else outer
    heads[old], labels[old] = place, label
    top[word] = place
    for dependent, head in enumerate(heads):
        if head in (word, old) and dependent < place < old and dependent not in (word, old):
            heads[dependent] = place


def _predicate_label(tag: str) -> str:
    if tag in ADJECTIVES:
        return "acomp"
    return "attr" if tag in NOUNS or tag in ("PRP", "DT", "CD") else "ccomp"


def _move_clause(heads: list[int], labels: list[str], predicate: int, copula: int, old: int) -> None:
    """Give the copula those dependents of its predicate that belong to the clause: subject, auxiliaries, final stop."""
    own = [place for place, head in enumerate(heads) if head in (predicate, old) and place not in (predicate, old)]
    last = max((place for place in own if labels[place] != "punct"), default=old)
    for place in own:
        if labels[place] in ("nsubj", "expl", "aux", "mark") or (labels[place] == "punct" and place > last):
            heads[place] = copula


def _conjoin_promoted(
    heads: list[int], labels: list[str], content: list[int], relations: list[str], top: list[int]
) -> None:
    """`in A and on B`: join the prepositions; `is A and is B`: the copulas."""
    for word, relation in enumerate(relations):
        if relation != "conj":
            continue
        first = content[word]
        if top[word] != word and top[first] != first:
            heads[top[word]] = top[first]
            labels[top[word]] = "conj"
