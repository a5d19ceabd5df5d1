"""Phrase units from gold dependencies, their agreement with gold brackets, and the fallback."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab

from vialign.data.treebanks.penn import detokenise, parse_tree
from vialign.language.quality import gold_units, span_quality
from vialign.language.units import Unit, extract_units, units_of
from vialign.tables.language import QUALITY, UNITS

STAR = "(NP (DT a) (JJ red) (NN star))"
DOT = "(NP (DT a) (NN dot))"
LEFT = f"(PP (TO to) (NP (NP (DT the) (NN left)) (PP (IN of) {DOT})))"


def said(doc) -> list[str]:
    """Units as readable lines: `entity a red star`, `attribute red -> a red star`, `a | above | b`."""
    text, units = doc.text, units_of(doc)

    def words(number: int) -> str:
        return "-" if number < 0 else text[units[number].start : units[number].end]

    lines = []
    for number, unit in enumerate(units):
        if unit.kind == "entity":
            lines.append(f"entity {words(number)}")
        elif unit.kind == "attribute":
            lines.append(f"attribute {words(number)} -> {words(unit.subject)}")
        else:
            lines.append(f"{words(unit.subject)} | {words(number)} | {words(unit.object)}")
    return lines


@pytest.mark.parametrize(
    ("brackets", "relation"),
    [
        (f"(S {STAR} (VP (VBZ is) (PP (IN above) {DOT})))", "a red star | above | a dot"),
        (f"(S (PP (IN below) {DOT}) (NP (EX there)) (VP (VBZ is) {STAR}))", "a red star | below | a dot"),
        (f"(S {LEFT} (NP (EX there)) (VP (VBZ is) {STAR}))", "a red star | to the left of | a dot"),
        (f"(NP {STAR} {LEFT})", "a red star | to the left of | a dot"),
        (f"(NP {STAR} (PP (JJ left) (IN of) {DOT}))", "a red star | left of | a dot"),
        (f"(NP {STAR} (ADVP (RB left) (PP (IN of) {DOT})))", "a red star | left of | a dot"),
        (f"(S {STAR} (VP (VBZ is) (ADVP (RB next) (PP (TO to) {DOT}))))", "a red star | next to | a dot"),
        (f"(S {STAR} (VP (VBZ is) (ADJP (JJR larger) (PP (IN than) {DOT}))))", "a red star | larger than | a dot"),
        (f"(NP {STAR} (ADJP (JJR larger) (PP (IN than) {DOT})))", "a red star | larger than | a dot"),
        (f"(S {STAR} (VP (VBZ rides) {DOT}))", "a red star | rides | a dot"),
        (f"(S {STAR} (VP (VBZ picks) (PRT (RP up)) {DOT}))", "a red star | picks up | a dot"),
        (f"(NP {STAR} (VP (VBG sitting) (PP (IN on) {DOT})))", "a red star | sitting on | a dot"),
        (f"(S {STAR} (VP (VBZ is) (VP (VBG sitting) (PP (IN on) {DOT}))))", "a red star | sitting on | a dot"),
        (f"(S {STAR} (VP (VBZ is) (VP (VBN ridden) (PP (IN by) {DOT}))))", "a red star | ridden by | a dot"),
        (f"(NP {STAR} (SBAR (WHNP (WDT that)) (S (VP (VBZ rides) {DOT}))))", "a red star | rides | a dot"),
        (
            f"(NP {STAR} (PP (IN on) (NP (NP (NN top)) (PP (IN of) {DOT}))))",
            "a red star | on top of | a dot",
        ),
        (f"(S {STAR} (VP (VBZ runs)))", "a red star | runs | -"),
    ],
)
def test_each_way_of_saying_a_relation(gold_doc, brackets, relation):
    lines = said(gold_doc(brackets))
    assert [line for line in lines if "|" in line] == [relation]
    entities = [line for line in lines if line.startswith("entity")]
    assert sorted(entities) == (["entity a dot", "entity a red star"] if "a dot" in relation else ["entity a red star"])
    assert "attribute red -> a red star" in lines


def test_two_relations_of_one_verb_share_its_subject(gold_doc):
    field = "(PP (IN in) (NP (DT the) (NN grass)))"
    assert said(gold_doc(f"(S (NP (DT a) (NN dog)) (VP (VBZ chases) {DOT} {field}))")) == [
        "entity a dog",
        "a dog | chases | a dot",
        "entity a dot",
        "a dog | in | the grass",
        "entity the grass",
    ]


def test_conjunction_is_no_relation_and_every_adjective_is_an_attribute(gold_doc):
    ball = "(NP (DT a) (JJ black) (CC and) (JJ white) (NN ball))"
    assert said(gold_doc(f"(NP {ball} (CC and) (NP (DT the) (JJ big) (NN rope) (NN toy)))")) == [
        "entity a black and white ball",
        "attribute black -> a black and white ball",
        "attribute white -> a black and white ball",
        "entity the big rope toy",
        "attribute big -> the big rope toy",
    ]


def test_an_adjective_said_of_an_entity_is_its_attribute(gold_doc):
    brackets = "(S (NP (DT the) (NN star)) (VP (VBZ is) (ADJP (RB very) (JJ red))))"
    assert said(gold_doc(brackets)) == ["entity the star", "attribute very red -> the star"]


def test_possessor_and_possession_are_two_entities(gold_doc):
    brackets = "(NP (NP (DT the) (NN man) (POS 's)) (JJ red) (NN hat))"
    assert said(gold_doc(brackets)) == ["entity the man", "entity red hat", "attribute red -> red hat"]


def test_a_top_that_no_preposition_governs_is_an_entity(gold_doc):
    brackets = "(S (NP (NP (DT the) (NN top)) (PP (IN of) (NP (DT the) (NN hill)))) (VP (VBZ is) (ADJP (JJ green))))"
    assert said(gold_doc(brackets))[0] == "entity the top"


def test_arguments_are_always_entities_and_units_are_in_order(gold_doc, brackets_of_captions):
    for brackets in brackets_of_captions[::7]:
        units = units_of(gold_doc(brackets))
        assert [unit.start for unit in units] == sorted(unit.start for unit in units)
        for unit in units:
            assert unit.start <= unit.head_start < unit.head_end <= unit.end
            for argument in (unit.subject, unit.object):
                assert argument == -1 or units[argument].kind == "entity"
            assert (unit.kind == "entity") <= (unit.subject == unit.object == -1)


def test_every_text_has_a_unit_and_the_fallback_is_counted(pipeline):
    texts = pd.DataFrame({"text_id": ["a", "b"], "text": ["a red star is above a blue ring", "  ?! "]})
    frame, fallbacks = extract_units(texts, pipeline)
    frame = UNITS.check(frame)
    assert fallbacks == 1
    assert list(frame[frame["text_id"] == "b"].iloc[0])[1:5] == [0, "entity", 2, 4]
    relation = frame[frame["kind"] == "relation"].iloc[0]
    assert texts["text"][0][relation["start"] : relation["end"]] == "above"
    with pytest.raises(ValueError, match="'c' is empty"):
        extract_units(pd.DataFrame({"text_id": ["c"], "text": [" "]}), pipeline)
    empty, none = extract_units(pd.DataFrame({"text_id": [], "text": []}), pipeline)
    assert none == 0 and UNITS.check(empty).empty


@pytest.mark.parametrize(
    ("brackets", "expected"),
    [
        (f"(NP {STAR} {LEFT})", {"entity": {(0, 3), (7, 9)}, "attribute": {(1, 2)}, "relation": {(3, 4)}}),
        (
            f"(S {STAR} (VP (VBZ is) (ADJP (JJR larger) (PP (IN than) {DOT}))))",
            {"entity": {(0, 3), (6, 8)}, "attribute": {(1, 2)}, "relation": {(4, 5)}},
        ),
        (
            f"(NP {STAR} (VP (VBG sitting) (PP (IN on) {DOT})))",
            {"entity": {(0, 3), (5, 7)}, "attribute": {(1, 2)}, "relation": {(3, 4)}},
        ),
    ],
)
def test_gold_units_from_brackets(brackets, expected):
    assert gold_units(parse_tree(brackets)) == expected


def brackets_as_units(brackets: str) -> tuple[str, list[Unit]]:
    """Text of brackets and its gold spans as if they had been predicted."""
    tree = parse_tree(brackets)
    text, offsets = detokenise(tree.words())
    units = []
    for kind, spans in gold_units(tree).items():
        for first, end in sorted(spans):
            start, stop = offsets[first][0], offsets[end - 1][1]
            units.append(Unit(kind, start, stop, start, stop))
    return text, units


def test_span_quality_against_counting_by_hand():
    """Sentence 1 predicted right, sentence 2 with one entity cut short and one attribute invented."""
    first, second = f"(NP {STAR} {LEFT})", f"(S {STAR} (VP (VBZ is) (PP (IN above) {DOT})))"
    (text_one, units_one), (text_two, units_two) = brackets_as_units(first), brackets_as_units(second)
    trees = {"1": parse_tree(first), "2": parse_tree(second)}
    texts = {"1": text_one, "2": text_two}
    perfect = span_quality(trees, texts, {"1": units_one, "2": units_two}, "toy", seed=0)
    assert (perfect["value"] == 1).all() and len(perfect) == 9
    damaged = [u._replace(start=u.start + 2) if u.kind == "entity" and u.start == 0 else u for u in units_two]
    damaged.append(Unit("attribute", 0, 1, 0, 1))
    rows = QUALITY.check(span_quality(trees, texts, {"1": units_one, "2": damaged}, "toy", seed=0))
    value = rows.set_index(["subject", "measure"])["value"]
    assert value["syntax entity", "precision"] == value["syntax entity", "recall"] == 3 / 4
    assert value["syntax attribute", "precision"] == pytest.approx(2 / 3)
    assert value["syntax attribute", "recall"] == 1
    assert value["syntax attribute", "f1"] == pytest.approx(0.8)
    nothing = span_quality(trees, texts, {}, "toy", seed=0)
    assert np.all(nothing["value"] == 0)


def test_units_of_gold_parses_agree_with_gold_brackets(gold_doc, brackets_of_captions):
    """Dependencies and brackets are two independent ways to the same units: on captions they must agree."""
    brackets = dict(enumerate(brackets_of_captions[::5]))
    docs = {str(i): gold_doc(text) for i, text in brackets.items()}
    trees = {str(i): parse_tree(text) for i, text in brackets.items()}
    rows = span_quality(
        trees, {i: d.text for i, d in docs.items()}, {i: units_of(d) for i, d in docs.items()}, "t", seed=0
    )
    assert (rows["value"] == 1).all()


def test_a_preposition_at_the_root_with_another_beside_it_is_read_to_the_end():
    words, tags = ["above", "and", "below", "a", "dot"], ["IN", "CC", "IN", "DT", "NN"]
    labels = ["ROOT", "cc", "conj", "det", "pobj"]
    doc = Doc(Vocab(), words=words, tags=tags, heads=[0, 0, 0, 4, 2], deps=labels)
    assert said(doc) == ["- | below | a dot", "entity a dot"]


LABELS = ("prep", "conj", "cc", "pobj", "nsubj", "dobj", "amod", "det", "acl", "relcl", "advmod", "attr", "prt", "dep")
TAGS = ("IN", "TO", "NN", "NNS", "JJ", "RB", "VBZ", "VBG", "DT", "CC", "RP", "EX")


@given(st.data(), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_whatever_the_parser_says_the_reading_ends_and_points_at_entities(data, count):
    order = data.draw(st.permutations(range(count)))
    heads = [0] * count
    for place, word in enumerate(order):
        heads[word] = order[data.draw(st.integers(0, place - 1))] if place else word
    labels = ["ROOT" if heads[word] == word else data.draw(st.sampled_from(LABELS)) for word in range(count)]
    words = [data.draw(st.sampled_from(("is", "left", "top", "dog", "of", "sits", "red"))) for _ in range(count)]
    tags = [data.draw(st.sampled_from(TAGS)) for _ in range(count)]
    units = units_of(Doc(Vocab(), words=words, tags=tags, heads=heads, deps=labels))
    for unit in units:
        for argument in (unit.subject, unit.object):
            assert argument < 0 or units[argument].kind == "entity"
