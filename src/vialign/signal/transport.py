"""Entropic optimal transport between prototypes and phrases: batched, masked, differentiable.

Source: Cuturi, "Sinkhorn Distances" (2013). Where the costs lie close enough together, the iterations multiply scaling
vectors with exp(-cost / epsilon) (Peyré and Cuturi, "Computational Optimal Transport", 2019, section 4.2), which takes
no exponential an iteration; elsewhere that would underflow, and they run in the log domain (section 4.4).
"""

import math
from typing import Any

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
    if not cost.numel():
        return torch.zeros_like(cost)
    low, high = cost.detach().aminmax()
    # Scaling vectors may span as much as the kernel does: half of what the type can hold is left to them.
    if not float(high - low) <= -0.5 * epsilon * math.log(torch.finfo(cost.dtype).tiny):
        return _log_domain_plan(cost, rows, columns, epsilon, iterations)
    present_rows, present_columns = rows > 0, columns > 0
    both = present_rows.any(dim=1, keepdim=True) & present_columns.any(dim=1, keepdim=True)
    # Where a side is empty the other is scaled to anything, and the plan is struck out at the end.
    rows, columns = (
        torch.where(present | ~both, torch.where(both, share, 1.0), 0.0)
        for present, share in ((present_rows, rows), (present_columns, columns))
    )
    kernel = ((low - cost) / epsilon).exp()
    plan: Tensor = _Scaled.apply(kernel, rows, columns, iterations)
    return plan.masked_fill(~both[..., None], 0.0)


class _Scaled(torch.autograd.Function):
    """A kernel scaled to its plan by so many iterations, where no batch entry has an empty side.

    The gradient is that of the unrolled iterations. It needs their vectors alone, not a matrix an iteration, and what
    all iterations give the kernel is one matrix product.
    """

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, rows: Tensor, columns: Tensor, iterations: int) -> Tensor:
        rows, columns = rows[..., None], columns[..., None]
        transposed = kernel.transpose(1, 2).contiguous()
        left, right = (rows > 0).to(kernel), columns
        steps = [left]
        for _ in range(iterations):
            above = torch.bmm(transposed, left)
            right = columns / above
            beside = torch.bmm(kernel, right)
            left = rows / beside
            steps += [above, right, beside, left]
        ctx.save_for_backward(kernel, transposed, *steps)
        return left * kernel * right.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_plan: Tensor) -> tuple[Tensor | None, ...]:
        kernel, transposed, *steps = ctx.saved_tensors
        right, left = steps[-3], steps[-1]
        of_scaled = of_plan * kernel
        of_left = torch.bmm(of_scaled, right)
        of_right: Tensor | None = torch.bmm(of_scaled.transpose(1, 2), left)
        of_kernel = of_plan * left * right.transpose(1, 2)
        lefts, rights, of_rows, of_columns = [], [], [], []
        for first in range(len(steps) - 5, -1, -4):
            start, above, right, beside, left = steps[first : first + 5]
            of_rows.append(of_left / beside)
            # A mass over a sum: the gradient of the sum is negative. It is kept without its sign, so that of the sum
            # before it comes out with the right one.
            less_beside = of_rows[-1] * left
            less_right = torch.bmm(transposed, less_beside)
            less_right = less_right if of_right is None else less_right.sub_(of_right)
            of_columns.append(less_right / above)
            of_above = of_columns[-1] * right
            of_left, of_right = torch.bmm(kernel, of_above), None
            lefts += [less_beside, start]
            rights += [right.neg(), of_above]
        of_kernel = torch.baddbmm(of_kernel, torch.cat(lefts, dim=2), torch.cat(rights, dim=2).transpose(1, 2))
        _, wants_rows, wants_columns, _ = ctx.needs_input_grad
        return (
            of_kernel,
            torch.cat(of_rows, dim=2).sum(dim=2) if wants_rows else None,
            -torch.cat(of_columns, dim=2).sum(dim=2) if wants_columns else None,
            None,
        )


def _log_domain_plan(
    cost: Float[Tensor, "batch row column"],
    rows: Float[Tensor, "batch row"],
    columns: Float[Tensor, "batch column"],
    epsilon: float,
    iterations: int,
) -> Float[Tensor, "batch row column"]:
    """The same plan for costs of any size."""
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
