"""Ambiguity-aware reweighting: w = α(1 - C) + β H_local (docs/method.md#41-reweighting)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def ambiguity(
    consistency: Float[Tensor, "batch"], entropy: Float[Tensor, "batch"], alpha: float, beta: float
) -> Float[Tensor, "batch"]:
    """How little the two alignments agree, and how undecided the local one is; detached, not negative."""
    return (alpha * (1 - consistency) + beta * entropy).detach().clamp_min(0)


def normalise_weights(
    raw: Float[Tensor, "batch"], level: Float[Tensor, ""], low: float, high: float
) -> Float[Tensor, "batch"]:
    """Ambiguity relative to its usual `level`, clipped to [low, high], then scaled to mean 1 over the batch."""
    relative = (raw / level.clamp_min(1e-12)).clamp(low, high)
    return relative / relative.mean()


class AmbiguityWeights(nn.Module):
    """Per-sample weights whose reference level is smoothed over steps.

    The level is an exponential moving average of the batch means: what counts as more ambiguous than usual does not
    jump with one odd batch. It has no trainable parameter.
    """

    level: Tensor

    def __init__(self, alpha: float, beta: float, smoothing: float, weight_range: tuple[float, float]) -> None:
        super().__init__()
        self.alpha, self.beta, self.smoothing = alpha, beta, smoothing
        self.low, self.high = weight_range
        self.register_buffer("level", torch.tensor(-1.0))
        """Smoothed mean ambiguity; negative before the first step."""

    def forward(self, consistency: Float[Tensor, "batch"], entropy: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Weights of a batch, mean 1, without gradient; in training mode the level takes one step."""
        raw = ambiguity(consistency, entropy, self.alpha, self.beta)
        mean = raw.mean()
        level = mean if self.level < 0 else self.smoothing * self.level + (1 - self.smoothing) * mean
        if self.training:
            self.level.copy_(level)
        return normalise_weights(raw, level, self.low, self.high)
