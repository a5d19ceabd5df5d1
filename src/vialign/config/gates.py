"""Configuration of the gates."""

from typing import Literal

from vialign.config.section import Fraction, Level, Section


class GateConfig(Section):
    """What happens when a gate finds its evidence missing."""

    action: Literal["stop", "warn"] = "stop"
    """`stop` ends the run with a design review, `warn` lets it go on."""


class SignalGateConfig(GateConfig):
    """Thresholds of the signal gate."""

    minimum_auc: Fraction = 0.5
    """The lower end of the AUC's interval on at least one kind of hard negative must be above it: 0.5 is chance."""
    beyond_global: float = 0.0
    """What the driver must add to S_global on hard negatives, as lower end of a difference of AUC: anything above
    nothing, since a signal that adds nothing to the similarity that is there for free is not needed."""
    beyond_parts: float = 0.0
    """The same beyond S_global and S_local together, in the best linear combination: C is made of the two, so what it
    must show is that their consistency says more than they do."""
    minimum_gain: float = 0.0
    """The lower end of the probe's gain, beyond S_global and beyond S_global with S_local, must be above it: the signal
    must add something."""
    beyond_text: float = 0.0
    """The lower end of AUC less the blind baseline's, on that kind, must be above it: what a classifier that sees no
    image can tell is no evidence of alignment."""
    blind_spot: Fraction = 0.05
    """Share of random pairs that may look as consistent as the median aligned pair while both similarities are low;
    it informs only. One in twenty is what a test at the usual level lets pass by chance."""
    level: Level = 0.05
    """Family-wise error of the tests (Holm)."""


class EarlyGateConfig(GateConfig):
    """What the early gate makes of a warning."""

    warning: Literal["inform", "stop"] = "inform"
    """Whether an early warning (C and the selection metric move apart) counts as missing evidence. It informs only by
    default: two curves that both drift through a training look related even where they are not."""


class GatesConfig(Section):
    """The three stop-loss gates."""

    signal: SignalGateConfig = SignalGateConfig()
    budget: GateConfig = GateConfig()
    early: EarlyGateConfig = EarlyGateConfig()
