"""Units on tokens: by hand, against loops, and there and back."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.disentangle.structure import (
    TokenDistributions,
    align_units,
    decode,
    fill_slots,
    group_tokens,
    mix,
    place_units,
    smoothed,
)
from vialign.disentangle.types import TokenStructure
from vialign.language.units import Unit
from vialign.tables.language import UNITS

N, E, A, R = range(4)


def unit_row(text_id, unit, kind, span, head, subject=-1, object_=-1):
    return (text_id, unit, kind, *span, *head, subject, object_)


@pytest.fixture
def sentence():
    """`a tiny circle is by blue box`, where the tokenizer splits "tiny" in two; and a text without units."""
    spans = [(0, 1), (2, 4), (4, 6), (7, 13), (14, 16), (17, 19), (20, 24), (25, 28)]
    rows = [
        unit_row("x", 0, "entity", (0, 13), (7, 13)),
        unit_row("x", 1, "attribute", (2, 6), (2, 6), 0),
        unit_row("x", 2, "relation", (17, 19), (17, 19), 0, 3),
        unit_row("x", 3, "entity", (20, 28), (25, 28)),
        unit_row("x", 4, "attribute", (20, 24), (20, 24), 3),
        unit_row("other text", 0, "entity", (0, 5), (0, 5)),
    ]
    units = pd.DataFrame(rows, columns=list(UNITS.columns))
    offsets = torch.tensor([[(0, 0), *spans, (0, 0)], [(0, 0), (0, 3)] + [(0, 0)] * 8])
    mask = (offsets[..., 1] > offsets[..., 0]).clone()
    return units, ["x", "y"], offsets, mask


def test_spans_become_tokens(sentence):
    structure = align_units(*sentence)
    assert structure.kind[0].tolist() == [N, E, A, A, E, N, R, A, E, N]
    assert structure.begin[0].long().tolist() == [0, 1, 1, 0, 0, 0, 1, 1, 1, 0]
    assert structure.subject[0].tolist() == [-1, -1, 4, 4, -1, -1, 4, 8, -1, -1]
    assert structure.object[0].tolist() == [-1, -1, -1, -1, -1, -1, 8, -1, -1, -1]
    assert structure.kind[1].tolist() == [N] * 10 and not structure.begin[1].any()


def test_the_order_of_unit_rows_does_not_matter(sentence):
    units, *rest = sentence
    expected, shuffled = align_units(units, *rest), align_units(units.sample(frac=1, random_state=3), *rest)
    for name in ("kind", "begin", "subject", "object"):
        assert torch.equal(getattr(expected, name), getattr(shuffled, name))


def test_units_behind_the_context_length_are_left_out(sentence):
    units, ids, offsets, mask = sentence
    structure = align_units(units, ids, offsets[:, :7], mask[:, :7])
    assert structure.kind[0].tolist() == [N, E, A, A, E, N, R]
    assert structure.object[0, 6] == -1


def test_an_argument_that_is_no_unit_of_the_text_is_none(sentence):
    """Numbers need not be dense either: unit 3, an argument of two others, is called 30 in one row and 3 in none."""
    units, *rest = sentence
    renamed = units.assign(unit=units["unit"].replace(3, 30), subject=units["subject"].replace(3, 30))
    structure, expected = align_units(renamed, *rest), align_units(units, *rest)
    assert structure.subject.equal(expected.subject) and structure.kind.equal(expected.kind)
    assert (expected.object >= 0).any() and (structure.object == -1).all()


def test_an_empty_frame_gives_no_units(sentence):
    units, *rest = sentence
    assert not align_units(units.iloc[:0], *rest).kind.any()


def test_units_in_no_table_are_placed_as_those_of_a_table(sentence):
    """Here the text with units is the second of two, and the first was not read."""
    units, ids, offsets, mask = sentence
    own = [Unit(*row[2:]) for row in units[units["text_id"] == "x"].itertuples(index=False)]
    placed = place_units([own], [1], offsets.flip(0), mask.flip(0))
    expected = align_units(units, ids, offsets, mask)
    for name in ("kind", "begin", "subject", "object"):
        assert torch.equal(getattr(placed, name).flip(0), getattr(expected, name)), name
    assert not place_units([], [], offsets, mask).kind.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_decoding_a_smoothed_structure_gives_it_back(sentence, smoothing):
    structure = align_units(*sentence)
    decoded = decode(smoothed(structure, smoothing), sentence[3])
    for name in ("kind", "begin", "subject", "object"):
        assert torch.equal(getattr(structure, name), getattr(decoded, name)), name


def test_slots_of_a_sentence(sentence):
    slots = fill_slots(align_units(*sentence), sentence[3], 6)
    assert slots.kind[0].tolist() == [E, A, R, A, E, N]
    assert slots.subject[0].tolist() == [-1, 0, 0, 4, -1, -1]
    assert slots.object[0].tolist() == [-1, -1, 4, -1, -1, -1]
    tokens = [row.nonzero().flatten().tolist() for row in slots.members[0]]
    assert tokens == [[1, 2, 3, 4], [2, 3], [6], [7], [7, 8], []]  # an entity has its attributes' tokens
    assert slots.kind[1].tolist() == [E, N, N, N, N, N]  # no unit: the whole text is one
    assert slots.members[1].nonzero().tolist() == [[0, 1]]


def test_attributes_make_room_first(sentence):
    slots = fill_slots(align_units(*sentence), sentence[3], 3)
    assert slots.kind[0].tolist() == [E, R, E]
    assert slots.subject[0].tolist() == [-1, 0, -1] and slots.object[0].tolist() == [-1, 2, -1]
    assert slots.members[0, 2].nonzero().flatten().tolist() == [7, 8]


def test_more_slots_than_tokens():
    structure = TokenStructure(*(torch.tensor([[value]]) for value in (E, True, -1, -1)))
    slots = fill_slots(structure, torch.ones(1, 1, dtype=torch.bool), 4)
    assert slots.kind.tolist() == [[E, N, N, N]] and slots.members.sum() == 1


kinds_and_begins = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=9)


def grouped_by_loop(kind, begin):
    owner = []
    for t, (k, b) in enumerate(zip(kind, begin, strict=True)):
        earlier = [s for s in range(t) if kind[s] != A]
        if k == N:
            owner.append(-1)
            continue
        before = kind[t - 1] if t else N
        if k != A:  # attributes inside a unit do not end it
            before = kind[earlier[-1]] if earlier else N
        continued = before == k
        if b or not continued:
            owner.append(t)
        else:
            owner.append(max(o for o, other in zip(owner, kind, strict=False) if other == k))
    return owner


@given(kinds_and_begins)
def test_grouping_equals_the_loop(tokens):
    kind, begin = zip(*tokens, strict=True)
    owner = group_tokens(torch.tensor([kind]), torch.tensor([begin]))
    assert owner[0].tolist() == grouped_by_loop(kind, begin)


@given(kinds_and_begins, st.integers(1, 6), st.integers(0, 2**31))
def test_slots_equal_the_loop(tokens, units, seed):
    kind, begin = (list(values) for values in zip(*tokens, strict=True))
    length, rng = len(kind), np.random.default_rng(seed)
    owner = grouped_by_loop(kind, begin)
    pointers = [[int(rng.integers(-1, length)) for _ in range(length)] for _ in range(2)]
    structure = TokenStructure(*(torch.tensor([values]) for values in (kind, begin, *pointers)))
    found = fill_slots(structure, torch.ones(1, length, dtype=torch.bool), units)

    firsts = sorted(set(owner) - {-1})
    kept = sorted(sorted(firsts, key=lambda t: (kind[t] == A, t))[:units])
    slot = {first: number for number, first in enumerate(kept)}

    def slot_of(token):
        return slot.get(owner[token], -1) if token >= 0 else -1

    expected = np.zeros((units, length), dtype=bool)
    for t in range(length):
        if slot_of(t) >= 0:
            expected[slot_of(t), t] = True
        if kind[t] == A and slot_of(pointers[0][t]) >= 0:
            expected[slot_of(pointers[0][t]), t] = True
    if not firsts:
        expected[0] = True
    pad = units - len(kept)
    assert found.members[0].numpy().tolist() == expected.tolist()
    assert found.kind[0].tolist() == ([kind[t] for t in kept] + [N] * pad if kept else [E] + [N] * (units - 1))
    assert found.subject[0].tolist() == [slot_of(pointers[0][t]) for t in kept] + [-1] * pad
    assert found.object[0].tolist() == [slot_of(pointers[1][t]) for t in kept] + [-1] * pad


def test_the_tokens_of_a_unit_vote_on_its_argument():
    """Two relation tokens favour token 0 and token 3; the surer one wins, and only entities can win."""
    kind = torch.nn.functional.one_hot(torch.tensor([[E, R, R, E, A]]), 4).float()
    begin = torch.tensor([[1.0, 1, 0, 1, 1]])
    subject = torch.zeros(1, 5, 6)
    subject[0, 1, 0], subject[0, 1, 5] = 0.6, 0.4
    subject[0, 2, 3], subject[0, 2, 4] = 0.9, 0.1
    subject[0, 4, 1], subject[0, 4, 5] = 0.9, 0.1  # a relation cannot be the argument of an attribute
    decoded = decode(TokenDistributions(kind, begin, subject, subject), torch.ones(1, 5, dtype=torch.bool))
    assert decoded.subject.tolist() == [[-1, 3, 3, -1, -1]]
    assert decoded.object.tolist() == [[-1, 3, 3, -1, -1]]


def test_the_mix_follows_the_gate(sentence):
    first = smoothed(align_units(*sentence), 0.0)
    second = TokenDistributions(*(tensor.flip(1) for tensor in (first.kind, first.begin, first.subject, first.object)))
    gate = torch.zeros(2, 10)
    gate[0] = 1
    mixed = mix(first, second, gate)
    for name in ("kind", "begin", "subject", "object"):
        assert torch.equal(getattr(mixed, name)[0], getattr(first, name)[0])
        assert torch.equal(getattr(mixed, name)[1], getattr(second, name)[1])
    half = mix(first, second, torch.full((2, 10), 0.5))
    torch.testing.assert_close(half.kind, (first.kind + second.kind) / 2)
