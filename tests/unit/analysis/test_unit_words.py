"""On which units two texts differ, with units written by hand and phrases that agree or do not."""

import re

import pandas as pd
import pytest
import torch

from unit.analysis.test_failures import build
from vialign.analysis.failures.unit_words import UnitWords
from vialign.tables.language import UNIT_KINDS, UNITS

# (kind, phrase, head, subject, object) by unit.
RED_DOG_BLUE_CAT = [
    ("entity", "a red dog", "dog", -1, -1),
    ("attribute", "red", "red", 0, -1),
    ("relation", "chases", "chases", 0, 3),
    ("entity", "a blue cat", "cat", -1, -1),
    ("attribute", "blue", "blue", 3, -1),
]


def said(text, spec):
    """UNITS of a text from phrases that stand in it once."""
    rows = []
    for number, (kind, phrase, head, subject, object_) in enumerate(spec):
        start = text.index(phrase)
        first = text.index(head, start)
        rows.append((number, kind, start, start + len(phrase), first, first + len(head), subject, object_))
    return rows


def world(*texts):
    """UnitWords of texts, each (content, units), whose phrases are the parser's units in order."""
    data, _ = build({"i": ["dog"]}, [(f"t{n}", "i", "caption", content) for n, (content, _) in enumerate(texts)])
    slots = max(len(spec) for _, spec in texts) + 1
    kind = torch.zeros(len(texts), slots, dtype=torch.int64)
    rows = []
    for n, (content, spec) in enumerate(texts):
        for slot, unit in enumerate(spec):
            kind[n, slot] = UNIT_KINDS.index(unit[0]) + 1
        rows += [(f"t{n}", *row) for row in said(content, spec)]
    object.__setattr__(data.phrases, "kind", kind)
    return UnitWords(UNITS.check(pd.DataFrame(rows, columns=list(UNITS.columns))), data), kind


def swapped(subject, its, object_, other):
    """Units of `a <its> <subject> chases a <other> <object>`."""
    return [
        ("entity", f"a {its} {subject}", subject, -1, -1),
        ("attribute", its, its, 0, -1),
        ("relation", "chases", "chases", 0, 3),
        ("entity", f"a {other} {object_}", object_, -1, -1),
        ("attribute", other, other, 3, -1),
    ]


TRUE = ("a red dog chases a blue cat", RED_DOG_BLUE_CAT)
HORSE = ("a red horse chases a blue cat", swapped("horse", "red", "cat", "blue"))
COLOURS = ("a blue dog chases a red cat", swapped("dog", "blue", "cat", "red"))
ROLES = ("a blue cat chases a red dog", swapped("cat", "blue", "dog", "red"))
LIKES = (
    "a red dog likes a blue cat",
    [*RED_DOG_BLUE_CAT[:2], ("relation", "likes", "likes", 0, 3), *RED_DOG_BLUE_CAT[3:]],
)


@pytest.mark.parametrize(
    ("rival", "kind", "words"),
    [
        # What is said of another thing differs too, but the thing decided.
        (HORSE, "entity", ["a red horse"]),
        (COLOURS, "attribute", ["blue", "red"]),
        (ROLES, "relation", ["chases"]),
        (LIKES, "relation", ["likes"]),
    ],
)
def test_the_lowest_kind_on_which_texts_differ_is_named(rival, kind, words):
    reader, _ = world(TRUE, rival)
    found = reader.only_in(1, 0)
    assert [unit.words for unit in found] == words
    assert {unit.kind for unit in found} == {kind}


def test_articles_and_less_said_are_no_difference():
    the = (
        "The red dog chases the blue cat",
        [(kind, re.sub("^a ", "the ", words).replace("the red", "The red"), *rest) for kind, words, *rest in TRUE[1]],
    )
    less = ("a red dog", RED_DOG_BLUE_CAT[:2])
    reader, _ = world(TRUE, the, less)
    assert reader.only_in(1, 0) == [] and reader.only_in(2, 0) == []
    assert [unit.words for unit in reader.only_in(0, 2)] == ["a blue cat"], "control: the other way round there is one"


def test_a_slot_is_named_by_its_place_among_its_kind():
    reader, _ = world(TRUE)
    assert [reader.words(0, slot) for slot in range(6)] == ["a red dog", "red", "chases", "a blue cat", "blue", None]
    assert reader.words(0, -1) is None


def test_units_that_the_disentangler_did_not_read_alike_have_no_slot():
    reader, kind = world(TRUE)
    kind[0, 4] = 0  # the second attribute was not read
    assert [unit.slot for unit in reader.units(0)] == [0, -1, 2, 3, -1]
    assert reader.words(0, 1) is None and reader.words(0, 3) == "a blue cat"


def test_where_all_slots_are_taken_the_last_units_were_cut_off():
    reader, kind = world(TRUE)
    object.__setattr__(reader, "_kinds", kind[:, :3])
    assert [unit.slot for unit in reader.units(0)] == [0, 1, 2, -1, -1]
