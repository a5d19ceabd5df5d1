"""Quality measures against brute force and by hand."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.disentangle.quality import _Rows, box_iou, ceiling_iou, count_units, text_quality, threshold
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import TokenStructure

N, E, A, R = range(4)


def iou_by_hand(mask, coverage):
    shared = sum(c for m, c in zip(mask, coverage, strict=True) if m)
    return shared / (sum(mask) + sum(coverage) - shared)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda values: sum(values) > 0.01))
def test_the_ceiling_is_the_best_of_all_sets_of_patches(coverage):
    patches = range(len(coverage))
    sets = chain.from_iterable(combinations(patches, size) for size in range(1, len(coverage) + 1))
    best = max(iou_by_hand([k in chosen for k in patches], coverage) for chosen in sets)
    found = ceiling_iou(torch.tensor([[coverage]], dtype=torch.float64))
    assert found.item() == pytest.approx(best)


@given(st.integers(0, 2**31))
def test_iou_equals_the_loop_and_stays_below_the_ceiling(seed):
    rng = np.random.default_rng(seed)
    masks, coverage = rng.random((2, 3, 6)) < 0.5, rng.random((2, 2, 6))
    found = box_iou(torch.from_numpy(masks), torch.from_numpy(coverage))
    for b in range(2):
        for t in range(2):
            for p in range(3):
                assert found[b, t, p].item() == pytest.approx(iou_by_hand(masks[b, p], coverage[b, t]))
    assert bool((found.amax(-1) <= ceiling_iou(torch.from_numpy(coverage)) + 1e-9).all())


def test_threshold_is_half_of_the_maximum():
    maps = torch.tensor([[[0.1, 0.2, 0.4, 0.19], [0.0, 0.0, 0.0, 0.0]]])
    assert threshold(maps)[0].tolist() == [[False, True, True, False], [False] * 4]


def structure(kind, begin, subject, object_):
    return TokenStructure(
        torch.tensor([kind]), torch.tensor([begin]).bool(), torch.tensor([subject]), torch.tensor([object_])
    )


def test_units_are_counted_by_kind_and_tokens_and_arguments():
    truth = structure([E, A, E, R, E, E], [1, 1, 0, 1, 1, 0], [-1, 2, -1, 2, -1, -1], [-1, -1, -1, 5, -1, -1])
    # The second entity is split in two, and the relation points at the wrong token.
    found = structure([E, A, E, R, E, E], [1, 1, 0, 1, 1, 1], [-1, 2, -1, 2, -1, -1], [-1, -1, -1, 4, -1, -1])
    assert count_units(truth, found)[0].tolist() == [[1, 3, 2, 1], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert count_units(truth, truth)[0].tolist() == [[2, 2, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_the_fallback_path_is_the_parser(test_captions):
    """With the gold units as parser it is perfect; with half of them it finds the half and nothing wrong."""
    torch.manual_seed(0)
    text = TextDisentangler(32, 6, 8, 4, 0.8, 1.0, 0.1)
    gold = test_captions.units
    entities = gold[gold["kind"] == "entity"]

    def measured(parser):
        quality = text_quality(text, test_captions.features, gold, parser, "planted", 0)
        rows = quality[quality["subject"] == "span path fallback"].set_index("measure")["value"]
        return {name: rows.get(name) for name in ("precision all", "recall all", "arguments", "recall attribute")}

    assert measured(gold) == {"precision all": 1, "recall all": 1, "arguments": 1, "recall attribute": 1}
    half = measured(entities)  # an entity without its attribute unit holds the adjective: its tokens differ
    assert half["recall attribute"] == 0 and half["arguments"] == 0 and half["recall all"] == 0
    relations = measured(gold[gold["kind"] != "relation"])
    assert relations["precision all"] == 1 and relations["recall all"] == pytest.approx(0.8)


def test_intervals_cover_the_value_and_shrink_with_items():
    rng = np.random.default_rng(0)
    widths = []
    for items in (50, 2000):
        rows = _Rows("d", rng)
        values = torch.from_numpy(rng.random((items, 3)))
        weights = torch.from_numpy(rng.integers(0, 2, (items, 3)).astype(float))
        rows.add("s", "m", values, weights)
        row = rows.frame().iloc[0]
        assert row["value"] == pytest.approx(float((values * weights).sum() / weights.sum()))
        assert row["low"] < row["value"] < row["high"]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0] / 40**0.5, rel=0.35)


def test_a_measure_without_items_is_left_out():
    rows = _Rows("d", np.random.default_rng(0))
    rows.add("s", "m", torch.rand(4, 2), torch.zeros(4, 2))
    assert rows.frame().empty
