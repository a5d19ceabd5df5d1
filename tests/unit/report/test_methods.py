"""What the report says of the methods."""

import pytest

from vialign.methods.build import BASELINES, METHODS
from vialign.report.sections.common import METHOD_MEANINGS, method_meaning


def test_every_method_of_the_registry_has_a_name_and_a_meaning():
    assert set(BASELINES) <= set(METHOD_MEANINGS)
    meanings = [method_meaning(method) for method in METHODS]
    assert len(set(meanings)) == len(METHODS) and all(meaning.endswith(".") for _, meaning in meanings)


@pytest.mark.parametrize(
    ("method", "meaning"),
    [
        ("vialign-none", "the curriculum with none of its modules."),
        ("vialign-correct", "the curriculum with correction."),
        ("vialign-reweight-correct", "the curriculum with reweighting and correction."),
    ],
)
def test_a_subset_says_which_modules_it_has(method, meaning):
    assert method_meaning(method) == (method, meaning)
