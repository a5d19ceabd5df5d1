"""Structured consistency regularisation: L_reg = MSE(C, 1) + λ L_OT (docs/method.md#42-regularisation)."""

from jaxtyping import Float
from torch import Tensor, nn

from vialign.methods.curriculum.head import LowRankResidual
from vialign.signal.transport import sinkhorn_loss


class ConsistencyRegulariser(nn.Module):
    """The regulariser, and the two adapters through which it can change prototypes and phrases.

    The disentanglers are frozen during training, so the module owns a low-rank residual on each of their outputs.
    """

    def __init__(
        self,
        dimension: int,
        rank: int,
        seed: int,
        *,
        consistency_weight: float,
        transport_weight: float,
        epsilon: float,
        iterations: int,
    ) -> None:
        super().__init__()
        self.prototypes = LowRankResidual(dimension, rank, seed, "regularise.prototypes")
        self.phrases = LowRankResidual(dimension, rank, seed, "regularise.phrases")
        self.consistency_weight, self.transport_weight = consistency_weight, transport_weight
        self.epsilon, self.iterations = epsilon, iterations

    def forward(
        self,
        consistency: Float[Tensor, "batch"],
        prototypes: Float[Tensor, "batch prototype dim"],
        mass: Float[Tensor, "batch prototype"],
        phrases: Float[Tensor, "batch phrase dim"],
        weight: Float[Tensor, "batch phrase"],
    ) -> Float[Tensor, ""]:
        """`consistency_weight * (MSE(C, 1) + transport_weight * L_OT)` of aligned pairs, of adapted features."""
        transport = sinkhorn_loss(prototypes, mass, phrases, weight, self.epsilon, self.iterations)
        return self.consistency_weight * ((1 - consistency).square().mean() + self.transport_weight * transport.mean())
