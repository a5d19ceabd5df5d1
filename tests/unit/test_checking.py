"""The run-time checks of shapes see the first calls of every test, and spare the thousandth."""

import pytest
import torch
from jaxtyping import TypeCheckError

import checking
from vialign.signal.score import agreement

WRONG = (torch.zeros(2), torch.zeros(3, 1))
"""Shapes that no function of pairs takes together, though torch would add them."""


@pytest.mark.parametrize("time", [1, 2])
def test_the_first_calls_of_a_test_are_checked_and_those_behind_the_limit_are_not(time):
    with pytest.raises(TypeCheckError):
        agreement(*WRONG)
    right = torch.zeros(2)
    for _ in range(checking.LIMIT):
        agreement(right, right)
    assert agreement(*WRONG).shape == (3, 2)
