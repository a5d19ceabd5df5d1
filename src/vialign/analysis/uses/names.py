"""What is tried of C at work, and what each is held against; without torch, for the report."""

from dataclasses import dataclass

PLAIN = "no weights"
"""Every pair counts the same: what a rule for noisy captions is held against."""
SIGNALS = {
    "C": "consistency",
    "S_global": "s_global",
    "S_local": "s_local",
    "S_global and S_local": "s_sum",
    "agreement": "agreement",
}
"""What may tell a wrong caption, by the driver that gives it; all of the untrained method."""
DOUBT = "1 - C"
"""The sign of the method's own reweighting: what is inconsistent counts more."""
SMALL_LOSS = "small loss"
GLOBAL = "S_global"
"""What needs no local look: the rival of every other signal."""
WEIGHTS = {**{name: f"{name} as weight" for name in SIGNALS}, DOUBT: f"{DOUBT} as weight"}
CHOICES = {**{name: f"most of {name}" for name in SIGNALS}, SMALL_LOSS: SMALL_LOSS}
"""Rules that leave out of each batch as many pairs as there are wrong ones; the small loss of Han et al. 2018."""
RULES = (PLAIN, *WEIGHTS.values(), *CHOICES.values())

ALL_AT_ONCE = "all at once"
"""Every caption from the first step on, as every other training of the project has it."""
AT_RANDOM = "random order"
"""Captions join in an order that is drawn: what an order by a signal is held against."""
ORDERS = (ALL_AT_ONCE, AT_RANDOM, "high C first", "low C first", "high S_global first", "high S_local first")

CLEAN = "none"
"""The condition without wrong captions."""
CLEAN_CAPTIONS = "clean captions"
"""What the cost of the noise is counted from."""


ALL_LABELLED = "all"
"""In the place of a count: the dictionary is told every labelled box of the training images."""


def labelled_name(count: int | None) -> str:
    """A number of labelled images as files name it; None is all."""
    return ALL_LABELLED if count is None else str(count)


def labelled_title(count: int | None) -> str:
    """The same as tables name it, such as `50 labelled images`."""
    return f"{labelled_name(count)} labelled images"


@dataclass(frozen=True)
class Noise:
    """How the captions of a training are made wrong."""

    kind: str
    """`random`: they change places with one another. `hard`: each gives way to one of its rule-made negatives."""
    share: float
    """Of the training captions, in [0, 1]."""

    @property
    def name(self) -> str:
        """As in tables, such as `random 40 %`."""
        return f"{self.kind} {100 * self.share:g} %" if self.share else CLEAN


def conditions(shares: tuple[float, ...]) -> list[Noise]:
    """Clean captions, then each share of each kind."""
    return [Noise("random", 0.0), *(Noise(kind, share) for kind in ("random", "hard") for share in shares)]
