"""How well phrase units agree with gold Penn Treebank brackets: precision, recall and F1 with intervals."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from vialign.data.treebanks.head_rules import AUXILIARIES, COPULAS, head_child
from vialign.data.treebanks.penn import NOUNS, VERBS, Tree, align
from vialign.language.pipeline import bootstrap_sums
from vialign.language.units import MODIFIERS, RELATIONAL_NOUNS, Unit
from vialign.tables.language import QUALITY, UNIT_KINDS

Span = tuple[int, int]

_NOUN_PHRASES = ("NP", "NX", "NML")


def gold_units(tree: Tree) -> dict[str, set[Span]]:
    """Gold spans, as words [first, end), of each kind of unit.

    *entity*: the lowest NP brackets that hold a noun (`the man` and `red hat` in `the man 's red hat`), without the
    relational nouns of complex prepositions (`to the left of`). *attribute*: the adjectives and participles before the
    head noun of an entity. *relation*: the head word of what relates: a comparative or adjective with its
    own PP (`larger than`), a main verb, a preposition with a noun phrase unless it directly follows such a head
    (`sitting on`, `next to`).
    """
    gold: dict[str, set[Span]] = {kind: set() for kind in UNIT_KINDS}
    tags, words = tree.tags(), [word.lower() for word in tree.words()]

    def visit(node: Tree, start: int, parents: tuple[Tree, ...]) -> int:
        if node.word is not None:
            return start + 1
        places = [start]
        for child in node.children:
            places.append(visit(child, places[-1], (*parents, node)))
        if node.category in _NOUN_PHRASES:
            _add_noun_phrase(node, places, tags, words, parents, gold)
        elif node.category == "VP":
            _add_verb(node, places, gold)
        elif node.category == "PP":
            _add_preposition(node, places, words, parents, tags, gold)
        return places[-1]

    visit(tree, 0, ())
    _merge_prepositions(gold, tags, words)
    return gold


def _add_noun_phrase(
    node: Tree,
    places: Sequence[int],
    tags: Sequence[str],
    words: Sequence[str],
    parents: tuple[Tree, ...],
    gold: dict[str, set[Span]],
) -> None:
    first = 0
    if any(_holds_noun_phrase(child) for child in node.children):
        possessor = node.children[0]
        flat = not any(_holds_noun_phrase(child) for child in node.children[1:])
        if possessor.word is not None or possessor.tags()[-1] != "POS" or not flat:
            return
        first = 1
    start, end = places[first], places[-1]
    end -= tags[end - 1] == "POS"
    nouns = [i for i in range(start, end) if tags[i] in NOUNS]
    if not nouns or (words[nouns[-1]] in RELATIONAL_NOUNS and _inside_preposition(parents)):
        return
    gold["entity"].add((start, end))
    gold["attribute"] |= {(i, i + 1) for i in range(start, nouns[-1]) if tags[i] in MODIFIERS}


def _holds_noun_phrase(node: Tree) -> bool:
    return node.word is None and (node.category in _NOUN_PHRASES or any(map(_holds_noun_phrase, node.children)))


def _inside_preposition(parents: tuple[Tree, ...]) -> bool:
    for parent in reversed(parents):
        if parent.category not in _NOUN_PHRASES:
            return parent.category == "PP"
    return False


def _add_verb(node: Tree, places: Sequence[int], gold: dict[str, set[Span]]) -> None:
    head = node.children[head_child(node)]
    if head.label not in VERBS or (head.word or "").lower() in COPULAS:
        return
    for child, place in zip(node.children, places, strict=False):
        if child.label in VERBS and (child.word or "").lower() not in AUXILIARIES - {"has", "have", "had", "having"}:
            gold["relation"].add((place, place + 1))


def _add_preposition(
    node: Tree,
    places: Sequence[int],
    words: Sequence[str],
    parents: tuple[Tree, ...],
    tags: Sequence[str],
    gold: dict[str, set[Span]],
) -> None:
    nouns = any(tag in NOUNS for tag in tags[places[0] : places[-1]])
    inner = _complex(parents) or (parents and parents[-1].category == "PP")
    for child, place in zip(node.children, places, strict=False):
        if nouns and not inner and child.label in ("IN", "TO"):
            gold["relation"].add((place, place + 1))


def _complex(parents: tuple[Tree, ...]) -> bool:
    """Whether a PP is the second half of a complex preposition: `of` in `to the left of`."""
    if not parents or parents[-1].category not in _NOUN_PHRASES:
        return False
    leading = [leaf.word or "" for leaf in parents[-1].children[0].leaves()]
    return leading[-1].lower() in RELATIONAL_NOUNS and _inside_preposition(parents)


def _merge_prepositions(gold: dict[str, set[Span]], tags: Sequence[str], words: Sequence[str]) -> None:
    """`sitting on`, `larger than`, `next to`: one relation, named by its first word."""
    for start, end in sorted(gold["relation"]):
        before = start - 1
        if tags[start] not in ("IN", "TO") or before < 0:
            continue
        follows_verb = (before, start) in gold["relation"] and tags[before] in VERBS
        if follows_verb:
            gold["relation"].discard((start, end))
        elif (tags[before] in ("JJR", "RBR", "RB", "JJ")) and words[start] in ("than", "to", "of", "from"):
            gold["relation"].discard((start, end))
            verb = before - 1
            if not (verb >= 0 and (verb, before) in gold["relation"] and tags[verb] in VERBS):
                gold["relation"].add((before, start))


def predicted_spans(units: Sequence[Unit]) -> dict[str, set[Span]]:
    """Predicted spans, as characters, in the terms of `gold_units`: whole entities, heads of the others."""
    spans: dict[str, set[Span]] = {kind: set() for kind in UNIT_KINDS}
    for unit in units:
        whole = unit.kind == "entity"
        spans[unit.kind].add((unit.start, unit.end) if whole else (unit.head_start, unit.head_end))
    return spans


def span_quality(
    trees: Mapping[str, Tree],
    texts: Mapping[str, str],
    units: Mapping[str, Sequence[Unit]],
    domain: str,
    *,
    seed: int,
    bootstrap: int = 1000,
    path: str = "syntax",
) -> pd.DataFrame:
    """QUALITY rows: precision, recall and F1 of each kind of unit against gold brackets.

    Entities count when both ends agree; attributes and relations when their head word agrees. `trees`, `texts` and
    `units` go by text id. Intervals: 95 % bootstrap over sentences. Raises ValueError where a tree has other words than
    its text.
    """
    counts = np.array(list(_counts(trees, texts, units)), dtype=np.float64)
    if not len(counts):
        return QUALITY.empty()
    draws = bootstrap_sums(counts.reshape(len(counts), -1).T, seed=seed, bootstrap=bootstrap)
    total = counts.sum(axis=0)
    rows = []
    for place, kind in enumerate(UNIT_KINDS):
        hits, predicted, gold = total[place]
        if gold == 0:
            continue
        h, p, g = draws[:, 3 * place : 3 * place + 3].T
        for measure, value, low_high, count in (
            ("precision", _ratio(hits, predicted), _ratio(h, p), predicted),
            ("recall", _ratio(hits, gold), _ratio(h, g), gold),
            ("f1", _ratio(2 * hits, predicted + gold), _ratio(2 * h, p + g), gold),
        ):
            low, high = np.quantile(low_high, (0.025, 0.975))
            subject = f"{path} {kind}"
            rows.append((subject, domain, measure, float(value), float(low), float(high), int(count)))
    return pd.DataFrame(rows, columns=list(QUALITY.columns))


def _ratio(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    """A proportion; 0 where there is nothing to count (no prediction is no precision)."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _counts(
    trees: Mapping[str, Tree], texts: Mapping[str, str], units: Mapping[str, Sequence[Unit]]
) -> Iterator[list[tuple[int, int, int]]]:
    """Per sentence and kind: matched, predicted and gold spans."""
    for text_id, tree in trees.items():
        offsets = align(tree.words(), texts[text_id])
        predicted = predicted_spans(units.get(text_id, ()))
        gold = {
            kind: {(offsets[first][0], offsets[end - 1][1]) for first, end in spans}
            for kind, spans in gold_units(tree).items()
        }
        yield [(len(predicted[k] & gold[k]), len(predicted[k]), len(gold[k])) for k in UNIT_KINDS]
