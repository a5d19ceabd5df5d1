"""Signal-guided learning rate, exploratory: the rate follows the mean C of the batches.

Source: docs/method.md#44-guided-learning-rate.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SignalGuide(nn.Module):
    """A factor on the scheduled rate: smoothed mean C over that of the first batch, to a power, clipped.

    While the two alignments agree more than at the start, steps grow; when the agreement is lost, they shrink. The
    level is an exponential moving average of the batch means. No trainable parameter, and no gradient passes.
    """

    level: Tensor
    first: Tensor

    def __init__(self, power: float, smoothing: float, limits: tuple[float, float]) -> None:
        super().__init__()
        self.power, self.smoothing = power, smoothing
        self.low, self.high = limits
        self.register_buffer("level", torch.tensor(-1.0))
        self.register_buffer("first", torch.tensor(-1.0))
        """Mean C, smoothed and of the first batch; negative before it."""

    def observe(self, signal: Float[Tensor, "batch"]) -> None:
        """Take in the C of a training batch."""
        mean = signal.detach().mean()
        if self.level < 0:
            self.first.copy_(mean)
            self.level.copy_(mean)
        else:
            self.level.copy_(self.smoothing * self.level + (1 - self.smoothing) * mean)

    def factor(self) -> float:
        """What the scheduled rate of this step is multiplied with; 1 before the first batch."""
        if self.level < 0:
            return 1.0
        return float((self.level / self.first.clamp_min(1e-12)).pow(self.power).clamp(self.low, self.high))
