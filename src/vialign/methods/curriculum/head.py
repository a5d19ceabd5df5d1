"""The plain contrastive head: a low-rank residual on each tower's output, the part that every curriculum method has."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vialign.random import derive_seed


def drawn(shape: tuple[int, ...], scale: float, seed: int, *names: object) -> nn.Parameter:
    """A parameter with normal entries of standard deviation `scale`, drawn from a stream of its own.

    Because each parameter has its own stream, switching one module on or off never changes another's start.
    """
    stream = torch.Generator().manual_seed(derive_seed(seed, *names))
    return nn.Parameter(scale * torch.randn(shape, generator=stream))


class LowRankResidual(nn.Module):
    """`norm(x + up down x)` for unit vectors x; `up` starts at zero, so that it starts as the identity."""

    def __init__(self, dimension: int, rank: int, seed: int, name: str) -> None:
        super().__init__()
        self.down = drawn((dimension, rank), dimension**-0.5, seed, name, "down")
        self.up = nn.Parameter(torch.zeros(rank, dimension))

    def forward(self, features: Float[Tensor, "*items dim"]) -> Float[Tensor, "*items dim"]:
        """Adapted features, unit length; all-zero rows (padding) stay zero."""
        return F.normalize(features + features @ self.down @ self.up, dim=-1)


class ContrastiveHead(nn.Module):
    """One low-rank residual a tower."""

    def __init__(self, dimension: int, rank: int, seed: int) -> None:
        super().__init__()
        self.image = LowRankResidual(dimension, rank, seed, "head.image")
        self.text = LowRankResidual(dimension, rank, seed, "head.text")
