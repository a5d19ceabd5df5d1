"""What drives a method: C, a simpler signal, or something that cannot know, put in C's place to see what C is worth.

A driver maps both raw similarities of pairs to one number a pair. `same` says which pairs are aligned; only the oracle
looks at it, and where it is not known every pair counts as aligned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vialign.signal.score import COMBINED, consistency

if TYPE_CHECKING:
    from vialign.signal.calibration import SignalCalibration

Driver = Callable[
    [Float[Tensor, "*pair"], Float[Tensor, "*pair"], "Bool[Tensor, '*pair'] | None"], Float[Tensor, "*pair"]
]
"""(s_global, s_local, same) to the signal, of the same shape; differentiable where the signal is."""

SIGNALS = (*COMBINED, "consistency_raw", "s_global", "s_local", "s_sum")
"""Drivers that are functions of both similarities. The sum is halved, so that all lie in [0, 1] once calibrated."""
BLIND = ("constant", "shuffled", "noise")
"""Drivers that cannot know which pair is which."""


@dataclass(frozen=True)
class SignalDriver:
    """A signal of both similarities: what `COMBINED` makes of them, C of the raw ones, their mean, or one of them."""

    name: str
    calibration: "SignalCalibration"

    def __post_init__(self) -> None:
        if self.name not in SIGNALS:
            raise ValueError(f"no signal {self.name!r}; there are {', '.join(SIGNALS)}")

    def __call__(
        self,
        s_global: Float[Tensor, "*pair"],
        s_local: Float[Tensor, "*pair"],
        same: Bool[Tensor, "*pair"] | None = None,
    ) -> Float[Tensor, "*pair"]:
        """The signal of raw similarities."""
        if self.name == "consistency_raw":
            return consistency(s_global, s_local)
        seen, found = self.calibration.s_global.torch(s_global), self.calibration.s_local.torch(s_local)
        if self.name in COMBINED:
            return COMBINED[self.name](seen, found)
        if self.name == "s_sum":
            return (seen + found) / 2
        return seen if self.name == "s_global" else found


@dataclass(frozen=True)
class BlindDriver:
    """A driver that has the values of another and not its knowledge.

    `constant`: the mean of `values`, for every pair. `shuffled`: the other's values of the pairs scored together,
    exchanged among them at random. `noise`: values drawn from `values`, which are what the other gives to pairs of the
    training split. None passes a gradient, since none depends on its own pair. What is drawn follows from the seed and
    from how many pairs are scored together, so a score can be computed again.
    """

    kind: str
    other: Driver
    values: Float[Tensor, "value"]
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in BLIND:
            raise ValueError(f"no blind driver {self.kind!r}; there are {', '.join(BLIND)}")

    def __call__(
        self,
        s_global: Float[Tensor, "*pair"],
        s_local: Float[Tensor, "*pair"],
        same: Bool[Tensor, "*pair"] | None = None,
    ) -> Float[Tensor, "*pair"]:
        """Values that do not depend on their pair."""
        if self.kind == "constant":
            return torch.full_like(s_global, float(self.values.mean()))
        count = s_global.numel()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + count)
        if self.kind == "noise":
            drawn = self.values[torch.randint(len(self.values), (count,), generator=generator)]
        else:
            drawn = self.other(s_global, s_local, same).detach().flatten()[torch.randperm(count, generator=generator)]
        return drawn.reshape(s_global.shape).to(s_global)


def oracle(
    s_global: Float[Tensor, "*pair"], s_local: Float[Tensor, "*pair"], same: Bool[Tensor, "*pair"] | None = None
) -> Float[Tensor, "*pair"]:
    """1 for an aligned pair and 0 for every other: what a driver could know at most. It reads the answer."""
    return torch.ones_like(s_global) if same is None else same.to(s_global.dtype).expand_as(s_global).clone()
