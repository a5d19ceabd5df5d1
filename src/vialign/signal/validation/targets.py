"""What an attack on images raises: the harm to one signal, through the image tower and, if local, prototypes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from vialign.config.signal import SignalConfig
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import derived_signals
from vialign.signal.score import local_similarity, relation_queries
from vialign.signal.validation.attacks import Gain

if TYPE_CHECKING:
    from vialign.disentangle import Phrases, Prototypes

GLOBAL = "s_global"
"""Attacked whatever the driver is, and what every other signal is held against."""


def stressed_signals(config: SignalConfig) -> tuple[str, ...]:
    """The signals that the stress test follows, each of which is attacked by its own gradient: the driver first."""
    return tuple(dict.fromkeys((config.driver, GLOBAL, "s_local", "s_local_plain", "s_sum")))


def harm(
    pooled: Callable[[Tensor], Tensor],
    encode: Callable[[Tensor], tuple[Tensor, "Prototypes"]],
    texts: Float[Tensor, "image dim"],
    phrases: "Phrases",
    calibration: SignalCalibration,
    signal: str,
    *,
    targeted: bool = False,
) -> Gain:
    """What an attack on `signal` raises: minus the signal of each image with its text, or the signal, if `targeted`.

    `pooled` gives unit global embeddings of pixels, `encode` prototypes beside them; row b of `texts` (embeddings) and
    `phrases` is the text of image b. Untargeted, the text is a true caption; targeted, it is a wrong one.
    """
    sign = 1.0 if targeted else -1.0
    if signal == GLOBAL:
        return lambda pixels: sign * (pooled(pixels) * texts).sum(dim=-1)

    def raised(pixels: Tensor) -> Tensor:
        embedding, prototypes = encode(pixels)
        local = prototypes.features, phrases.features, phrases.weight, prototypes.mass
        s_global = (embedding * texts).sum(dim=-1)
        if signal == "s_local_plain":
            return sign * local_similarity(*local)
        s_local = local_similarity(*local, prototypes.moments, relation_queries(phrases))
        if signal == "s_local":
            return sign * s_local
        return sign * derived_signals(s_global, s_local, calibration)[signal]

    return raised
