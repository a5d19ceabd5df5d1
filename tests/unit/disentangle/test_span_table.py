"""Rows of SPANS against counting by hand and against loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.disentangle.readings import Readings, TokenStates
from vialign.disentangle.span_table import count_noun_phrases, noun_phrase_ends, span_rows
from vialign.disentangle.structure import decode, group_tokens, smoothed
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import TokenStructure
from vialign.tables.language import SPANS

N, E, A, R = range(4)


def structure(kind, begin):
    kind, begin = torch.tensor(kind), torch.tensor(begin).bool()
    nowhere = torch.full_like(kind, -1)
    return TokenStructure(kind, begin, nowhere, nowhere)


def test_a_noun_phrase_holds_its_attributes():
    """`two red circles on a big blue box`, `red circles touch it`."""
    found = structure(
        [[E, A, E, R, E, A, A, E], [A, E, R, N, N, N, N, N]], [[1, 1, 0, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0, 0]]
    )
    assert noun_phrase_ends(found).nonzero().tolist() == [[0, 0, 2], [0, 4, 7], [1, 0, 1]]
    brackets = structure(
        [[E, E, E, N, E, E, E, E], [N, E, N, N, N, N, N, N]], [[1, 0, 0, 0, 1, 0, 0, 0], [0, 1] + [0] * 6]
    )
    assert count_noun_phrases(brackets, found).tolist() == [[2, 2, 2], [0, 1, 1]]


@given(st.integers(0, 2**31))
def test_noun_phrases_equal_the_loop(seed):
    draw = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 4, (2, 7), generator=draw)
    found = structure(kind.tolist(), (torch.rand(2, 7, generator=draw) < 0.4).tolist())
    owner = group_tokens(found.kind, found.begin)
    expected = set()
    for text in range(2):
        for first in range(7):
            if kind[text, first] != E or owner[text, first] != first:
                continue
            last = max(token for token in range(7) if owner[text, token] == first)
            start = first
            while start > 0 and kind[text, start - 1] == A:
                start -= 1
            expected.add((text, start, last))
    assert {tuple(place) for place in noun_phrase_ends(found).nonzero().tolist()} == expected


@pytest.fixture
def readings(test_captions):
    """The planted captions; the parser reads every second one as one entity."""
    features = test_captions.features
    tokens = TokenStates(features.states.half(), features.mask, features.offsets, torch.arange(100) < 7)
    truth = tokens.structure(test_captions.units, features.ids)
    half = (torch.arange(100) % 2 == 0)[:, None]
    parsed = TokenStructure(
        torch.where(half, E * features.mask, truth.kind),
        torch.where(half, torch.arange(features.mask.shape[1]) == 0, truth.begin),
        torch.where(half, -1, truth.subject),
        torch.where(half, -1, truth.object),
    )
    return Readings(tokens, parsed, truth)


@pytest.fixture
def rows(readings):
    torch.manual_seed(0)
    text = TextDisentangler(32, 6, 8, 4, 0.8, 2.0, 0.1)
    frame = span_rows(text, readings, trained_on="here", domain="there", typos=0.1, seed=0, brackets=readings.truth)
    return SPANS.check(frame).set_index(["path", "kind"])


def test_precision_recall_and_f1_of_a_parser_that_misreads_half(rows):
    row = rows.loc[("fallback", "relation")]
    assert row["precision"] == 1 and row["recall"] == 0.5
    assert row["f1"] == pytest.approx(2 / 3) and row["low"] < 2 / 3 < row["high"]
    everything = rows.loc[("fallback", "all")]  # 5 gold units a caption: 250 right of 250 + 50 found
    assert everything["precision"] == pytest.approx(250 / 300) and everything["recall"] == 0.5
    assert (row["count"], row["cut"], row["trusted"]) == (100, 7, 0.0)
    assert (row["trained_on"], row["domain"], row["typos"]) == ("here", "there", 0.1)


def test_the_margin_is_over_the_better_single_path(rows):
    """An untrained main path is sure of nothing: the mix is the parser, and both lie far above the main path."""
    for path in ("mixed", "asked"):
        for kind in ("entity", "all"):
            best = max(rows.loc[("main", kind), "f1"], rows.loc[("fallback", kind), "f1"])
            assert rows.loc[(path, kind), "margin"] == pytest.approx(rows.loc[(path, kind), "f1"] - best)
    assert rows.loc[("mixed", "all"), ["margin", "margin_low", "margin_high"]].tolist() == [0, 0, 0]
    assert rows.loc["main"]["margin"].isna().all()
    assert rows.loc[("main", "all"), "f1"] < rows.loc[("fallback", "all"), "f1"] - 0.2


def test_a_path_that_finds_nothing_has_no_precision(readings):
    nothing = readings.parsed.kind * 0
    silent = TokenStructure(nothing, nothing.bool(), nothing - 1, nothing - 1)
    text = TextDisentangler(32, 6, 8, 4, 0.8, 2.0, 0.1)
    about = {"trained_on": "a", "domain": "a", "typos": 0.0, "seed": 0}
    frame = span_rows(text, Readings(readings.tokens, silent, readings.truth), **about)
    row = frame.set_index(["path", "kind"]).loc[("fallback", "all")]
    assert np.isnan(row["precision"]) and row["f1"] == row["recall"] == 0
    assert not bool(decode(smoothed(silent, 0.1), readings.tokens.mask).kind.any())
    with pytest.raises(ValueError, match="no text has a gold unit"):
        span_rows(text, Readings(readings.tokens, readings.parsed, silent), **about)
