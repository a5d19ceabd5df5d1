"""Entropic optimal transport between prototypes and phrases: batched, masked, in the log domain, differentiable.

Source: Cuturi, "Sinkhorn Distances" (2013); log-domain updates as in Peyré and Cuturi, "Computational Optimal
Transport" (2019), section 4.4.
"""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from vialign.signal.score import ABSENT


def sinkhorn_plan(
    cost: Float[Tensor, "batch row column"],
    rows: Float[Tensor, "batch row"],
    columns: Float[Tensor, "batch column"],
    epsilon: float,
    iterations: int,
) -> Float[Tensor, "batch row column"]:
    """The plan that minimises <plan, cost> - epsilon * entropy(plan) with marginals `rows` and `columns`.

    Both marginals sum to one. The last update is that of the rows, so row sums are exact and column sums hold at
    convergence; smaller `epsilon` needs more `iterations`. Rows and columns without mass are padding: their plan is
    exactly 0 and no gradient passes through them. A batch entry without any mass on one side has the plan 0.
    """
    present_rows, present_columns = rows > 0, columns > 0
    # log(1) under the mask: the logarithm of 0 would put NaN into the gradient even where it is not used.
    log_rows = torch.where(present_rows, torch.where(present_rows, rows, 1.0).log(), ABSENT)[:, :, None]
    log_columns = torch.where(present_columns, torch.where(present_columns, columns, 1.0).log(), ABSENT)[:, None, :]
    logarithm = torch.where(present_rows[:, :, None], -cost / epsilon, ABSENT)
    for _ in range(iterations):
        # A potential is what normalises the plan over one side, so each update is one log-softmax of the plan itself.
        logarithm = logarithm.log_softmax(dim=1) + log_columns
        logarithm = logarithm.log_softmax(dim=2) + log_rows
    present = present_rows[:, :, None] & present_columns[:, None, :]
    return torch.where(present, logarithm, ABSENT).exp()


def sinkhorn_loss(
    prototypes: Float[Tensor, "batch prototype dim"],
    mass: Float[Tensor, "batch prototype"],
    phrases: Float[Tensor, "batch phrase dim"],
    weight: Float[Tensor, "batch phrase"],
    epsilon: float,
    iterations: int,
) -> Float[Tensor, "batch"]:
    """L_OT of each pair: <plan, 1 - cos> between its prototypes and phrases, with marginals `mass` and `weight`.

    Features are unit vectors, so the result lies in [0, 2]. The gradient is that of the unrolled iterations: exact for
    the value returned, also before convergence.
    """
    cost = 1.0 - einsum(prototypes, phrases, "b k d, b m d -> b k m")
    plan = sinkhorn_plan(cost, mass, weight, epsilon, iterations)
    return (plan * cost).sum(dim=(1, 2))
