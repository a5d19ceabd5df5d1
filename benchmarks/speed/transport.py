"""Entropic optimal transport of a batch with gradients, against POT: pair by pair, and its batched solver."""

from collections.abc import Callable

import ot
import torch
from torch import Tensor

from benchmarks.speed.comparison import Comparison, Rival
from vialign.config.methods import CurriculumConfig
from vialign.signal.transport import sinkhorn_plan

TOLERANCE = 1e-5
"""Of gradients of a loss whose costs lie in [0, 2], in single precision."""


def pairs(batch: int = 64, rows: int = 8, columns: int = 5, dimension: int = 512) -> Comparison:
    """Loss and its gradient for the costs of a training batch; all run the same iterations, none stops early."""
    rng = torch.Generator().manual_seed(0)
    sides = (torch.randn(batch, count, dimension, generator=rng) for count in (rows, columns))
    one, other = (torch.nn.functional.normalize(side, dim=-1) for side in sides)
    cost = (1 - one @ other.transpose(1, 2)).requires_grad_()
    mass, weight = (torch.softmax(torch.randn(batch, count, generator=rng), dim=-1) for count in (rows, columns))
    settings = CurriculumConfig()
    epsilon, iterations = settings.epsilon, settings.transport_iterations

    def gradient(plans: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.autograd.grad((plans(cost) * cost).sum(), cost)[0]

    def ours() -> Tensor:
        return gradient(lambda cost: sinkhorn_plan(cost, mass, weight, epsilon, iterations))

    def loop() -> Tensor:
        def plans(cost: Tensor) -> Tensor:
            options = {"numItermax": iterations, "stopThr": -1, "warn": False}
            found = [ot.sinkhorn(*pair, epsilon, **options) for pair in zip(mass, weight, cost, strict=True)]
            return torch.stack(found)

        return gradient(plans)

    def solver(method: str) -> Callable[[], Tensor]:
        def plans(cost: Tensor) -> Tensor:
            # POT ends on the other side: so both are exchanged for the same order of updates.
            options = {"max_iter": iterations, "tol": -1, "method": method, "grad": "autodiff"}
            return ot.solve_batch(cost.transpose(1, 2), epsilon, weight, mass, **options).plan.transpose(1, 2)

        return lambda: gradient(plans)

    def rival(work: Callable[[], Tensor], goal: float | None) -> Rival:
        return Rival(work, lambda: float((work() - ours()).abs().max()), TOLERANCE, goal)

    rivals = {
        "loop of `ot.sinkhorn`": rival(loop, 50.0),
        "`ot.solve_batch`": rival(solver("auto"), 1.5),
        '`ot.solve_batch(method="sinkhorn")`': rival(solver("sinkhorn"), None),
    }
    what = f"optimal transport with gradients, {batch} pairs of {rows} by {columns}, {iterations} iterations"
    return Comparison(what, ours, rivals, rounds=40)
