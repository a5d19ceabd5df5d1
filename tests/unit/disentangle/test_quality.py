"""Quality of phrase units by hand."""

import pytest
import torch

from vialign.disentangle.quality import count_units, text_quality
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import TokenStructure

N, E, A, R = range(4)


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
        quality = text_quality(text, test_captions.features, gold, parser, "planted", 0).frame()
        rows = quality[quality["subject"] == "span path fallback"].set_index("measure")["value"]
        return {name: rows.get(name) for name in ("precision all", "recall all", "arguments", "recall attribute")}

    assert measured(gold) == {"precision all": 1, "recall all": 1, "arguments": 1, "recall attribute": 1}
    half = measured(entities)  # an entity without its attribute unit holds the adjective: its tokens differ
    assert half["recall attribute"] == 0 and half["arguments"] == 0 and half["recall all"] == 0
    relations = measured(gold[gold["kind"] != "relation"])
    assert relations["precision all"] == 1 and relations["recall all"] == pytest.approx(0.8)
