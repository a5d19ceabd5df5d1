"""Sizing modules to the budget: the largest rank whose parameters stay under the limit."""

from collections.abc import Callable, Iterable

from vialign.errors import UserError


def largest_rank(parameters_at: Callable[[int], int], limit: float, ranks: Iterable[int]) -> int:
    """The largest of `ranks` with strictly fewer than `limit` extra parameters (the constraint says under, not at).

    `parameters_at` gives the extra parameters of a module at a rank and must not decrease with it; it is asked at
    every rank, so count on the meta device or in closed form. Raises UserError when even the smallest rank is too
    large, ValueError when there is no rank or the counts decrease.
    """
    counts = {rank: parameters_at(rank) for rank in sorted(set(ranks))}
    if not counts:
        raise ValueError("largest_rank: no ranks to choose from")
    ordered = list(counts.items())
    for (rank, count), (next_rank, next_count) in zip(ordered, ordered[1:], strict=False):
        if next_count < count:
            raise ValueError(
                f"largest_rank: {next_count} parameters at rank {next_rank} but {count} at rank {rank}; "
                "a larger rank must not need fewer"
            )
    inside = [rank for rank, count in ordered if count < limit]
    if not inside:
        rank, count = ordered[0]
        raise UserError(
            f"budget: rank {rank} already needs {count} extra parameters, the limit is under {limit:.0f}; "
            "raise budget.parameters or use a larger backbone"
        )
    return inside[-1]
