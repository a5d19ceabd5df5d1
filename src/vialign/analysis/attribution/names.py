"""What may stand in the place of a part, and what is then said to carry the gain; without torch, for the report."""

from dataclasses import dataclass

SHIPPED = "as shipped"
"""The method with nothing replaced: what every replacement is held against."""
FROZEN = "frozen"
"""The backbone alone: what the gain is a gain over."""
DRIVERS = ("constant", "shuffled", "noise", "s_global", "s_local", "s_sum", "agreement", "consistency", "oracle")
"""In the place of the driver; one that the method has already is left out."""
LOCAL = (
    "best match only",
    "geometry alone",
    "without boxes",
    "shuffled prototypes",
    "unfitted dictionary",
    "ground-truth boxes",
)
"""In the place of the local part, which as shipped is the best matches with the geometry of both arguments."""
DECISIVE = ("constant", "shuffled", "best match only")
"""What decides whether C, or geometry, carries the gain: tried on the full model too."""
MEANINGS = {
    "constant": "one number for every pair, the mean of C",
    "shuffled": "C of other pairs",
    "noise": "numbers drawn from the distribution of C",
    "s_global": "S_global, calibrated",
    "s_local": "S_local, calibrated",
    "s_sum": "the mean of both similarities",
    "agreement": "the product of both similarities",
    "consistency": "C",
    "oracle": "whether the pair is aligned, which nothing may know",
    "best match only": "S_local of each phrase's best prototype, without geometry (docs/method.md#1-the-signal)",
    "geometry alone": "where the arguments of a relation lie, without what prototypes and phrases look like",
    "without boxes": "a dictionary and phrase units fitted without a labelled box",
    "shuffled prototypes": "the prototypes of another image",
    "unfitted dictionary": "prototypes of random atoms",
    "ground-truth boxes": "a prototype for each labelled box, which nothing had to find: an upper bound",
}
"""What stands in the place, as a phrase."""


@dataclass(frozen=True)
class Claim:
    """That something carries the gain: it does where the gain is lost without it, whatever stands in its place."""

    name: str
    without: tuple[str, ...]
    """Replacements that must all cost something on one and the same measure."""


DRIVER = "the driver"
CLAIMS = (
    Claim(DRIVER, ("constant", "shuffled")),
    Claim("the geometry of two prototypes", ("best match only",)),
    Claim("the features of prototypes and phrases", ("geometry alone",)),
    Claim("labelled boxes", ("without boxes",)),
    Claim("the image's own prototypes", ("shuffled prototypes",)),
    Claim("a fitted dictionary", ("unfitted dictionary",)),
)
"""What may carry the gain. C does only where it beats both a constant and a shuffle of itself."""
