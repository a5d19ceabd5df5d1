import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vialign.budget.ledger import count_parameters
from vialign.budget.sizing import largest_rank
from vialign.errors import UserError


def low_rank(rank: int) -> int:
    """Parameters of a real low-rank pair on the meta device."""
    pair = nn.Sequential(nn.Linear(512, rank, bias=False, device="meta"), nn.Linear(rank, 512, device="meta"))
    return count_parameters([pair])


def test_the_largest_rank_inside_the_limit_by_hand():
    # rank r needs 1024 r + 512 parameters; 20 of them 20,992, 21 of them 22,016
    assert largest_rank(low_rank, 22_016, range(1, 65)) == 20
    assert largest_rank(low_rank, 22_017, range(1, 65)) == 21


@given(st.lists(st.integers(1, 200), min_size=1, unique=True), st.integers(1, 5000), st.integers(1, 50))
def test_nothing_larger_fits(ranks, limit, cost):
    fitting = [rank for rank in ranks if cost * rank < limit]
    if fitting:
        assert largest_rank(lambda rank: cost * rank, limit, ranks) == max(fitting)
    else:
        with pytest.raises(UserError, match=f"rank {min(ranks)} already needs"):
            largest_rank(lambda rank: cost * rank, limit, ranks)


def test_counts_that_fall_with_the_rank_are_refused():
    with pytest.raises(ValueError, match="a larger rank must not need fewer"):
        largest_rank(lambda rank: 100 - rank, 1000, [1, 2])


def test_no_ranks_are_refused():
    with pytest.raises(ValueError, match="no ranks"):
        largest_rank(low_rank, 1000, [])
