"""What the report says of the methods."""

import pytest

from vialign.catalogue import METHODS, meaning


def test_every_method_of_the_registry_has_a_name_and_a_meaning():
    meanings = [meaning(method) for method in METHODS]
    assert len(set(meanings)) == len(METHODS) and all(said.endswith(".") for _, said in meanings)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("vialign-none", "the curriculum with none of its modules."),
        ("vialign-correct", "the curriculum with correction."),
        ("vialign-reweight-correct", "the curriculum with reweighting and correction."),
    ],
)
def test_a_subset_says_which_modules_it_has(method, said):
    assert meaning(method) == (method, said)
