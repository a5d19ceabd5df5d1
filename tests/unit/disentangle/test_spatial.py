"""Which relations count as spatial, and that geometry is the whole match of those alone."""

import pandas as pd
import pytest
import torch

from vialign.disentangle.geometry import ADDED, matched_with_geometry, relation_matches
from vialign.disentangle.spatial import set_spatial
from vialign.disentangle.structure import align_units
from vialign.disentangle.text import TextDisentangler
from vialign.language.lexicon import is_spatial
from vialign.tables.language import UNITS

DIM, LEXICAL = 16, 12
WORDS = {word: number for number, word in enumerate(["dog", "cat", "above", "below", "holding", "wearing", "chasing"])}


class Features:
    """Captions `dog RELATION cat`, a token a word, whose embedding tells the word and nothing else."""

    def __init__(self, relations):
        self.texts = [f"dog {relation} cat" for relation in relations]
        self.ids = [f"t{number}" for number in range(len(relations))]
        self.embedding = torch.randn(len(WORDS), DIM + LEXICAL, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.texts)

    def block(self, start, stop):
        rows = [text.split() for text in self.texts[start:stop]]
        states = torch.stack([self.embedding[[WORDS[word] for word in row]] for row in rows])
        offsets = torch.tensor([[(4, 3), (4, 4 + len(row[1])), (5 + len(row[1]), 8 + len(row[1]))] for row in rows])
        offsets[:, 0] = torch.tensor([0, 3])
        return states, torch.ones(len(rows), 3, dtype=torch.bool), offsets

    def units(self):
        rows = []
        for name, text in zip(self.ids, self.texts, strict=True):
            end = 4 + len(text.split()[1])
            rows.append((name, 0, "entity", 0, 3, 0, 3, -1, -1))
            rows.append((name, 1, "relation", 4, end, 4, end, 0, 2))
            rows.append((name, 2, "entity", end + 1, end + 4, end + 1, end + 4, -1, -1))
        return pd.DataFrame(rows, columns=list(UNITS.columns))


def told(relations):
    """Units that have seen these relations."""
    torch.manual_seed(0)
    text = TextDisentangler(DIM, 4, 8, 4, 0.8, 1.0, 0.1, LEXICAL).eval().requires_grad_(False)
    features = Features(relations)
    set_spatial(text, features, features.units(), features.texts, torch.arange(len(features)))
    return text


def shares(text, relations):
    """The share of geometry in each of these relations."""
    features = Features(relations)
    states, mask, offsets = features.block(0, len(features))
    structure = align_units(features.units(), features.ids, offsets, mask)
    return text.phrases(text.read(states, mask), mask, structure).direction.norm(dim=-1).amax(dim=-1)


@pytest.mark.parametrize(
    ("relation", "spatial"),
    [
        ("above", True),
        ("to the left of", True),
        ("Sitting on", True),
        ("larger than", True),
        ("next to", True),
        ("holding", False),
        ("wearing", False),
        ("joined to", False),
        ("points at", False),
        ("playing with", False),
        ("of", False),
    ],
)
def test_a_relation_is_spatial_where_two_boxes_can_decide_it(relation, spatial):
    assert is_spatial(relation) == spatial


def test_geometry_is_the_match_of_spatial_relations_and_a_share_of_that_of_others():
    text = told(["above", "below", "holding", "wearing"] * 3)
    seen = ["above", "holding", "below", "wearing"]
    torch.testing.assert_close(shares(text, seen), torch.tensor([1.0, ADDED, 1.0, ADDED]))


@pytest.mark.parametrize(
    ("relations", "share"), [(["above", "below"], 1.0), (["holding", "chasing"], ADDED), ([], 1.0)]
)
def test_where_all_are_of_one_kind_every_relation_counts_so(relations, share):
    torch.testing.assert_close(shares(told(relations), ["above", "wearing"]), torch.full((2,), share))


def test_only_captions_are_learned_from():
    features = Features(["above", "holding"])
    text = TextDisentangler(DIM, 4, 8, 4, 0.8, 1.0, 0.1, LEXICAL).eval().requires_grad_(False)
    set_spatial(text, features, features.units(), features.texts, torch.tensor([0]))
    assert text.spatial.tolist() == [0.0] * LEXICAL + [1.0]


def test_what_is_seen_is_never_replaced_by_the_geometry_of_another_relation():
    draw = torch.Generator().manual_seed(1)
    subject, object_ = (torch.rand(5, 5, generator=draw) for _ in range(2))
    unit = torch.nn.functional.normalize(torch.randn(5, 8, generator=draw), dim=-1)
    visual = torch.rand(5, generator=draw)
    geometry = relation_matches(subject, object_, unit)
    torch.testing.assert_close(matched_with_geometry(visual, subject, object_, unit), geometry)
    mixed = matched_with_geometry(visual, subject, object_, ADDED * unit)
    torch.testing.assert_close(mixed, (1 - ADDED) * visual + ADDED * geometry)
