"""Configuration of the signal."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from vialign.config.section import Count, Percent, Positive, Section

DriverName = Literal["consistency", "consistency_raw", "agreement"]
DRIVERS: tuple[str, ...] = get_args(DriverName)
"""Signals that may be judged and may drive the modules."""


class SignalConfig(Section):
    """Consistency, its calibration, and the tests it must pass before use."""

    driver: DriverName = "consistency"
    """The signal that the gate judges and that drives the modules. `agreement` is the product of both calibrated
    similarities: unlike C it is low where both similarities are low."""
    temperature: Positive = 0.05
    """Of the local match distribution."""
    pairs: Count = 1500
    """Image-caption pairs a kind, in the calibration and in the diagnosis."""
    permutations: Count = 2000
    """Of the permutation tests."""
    bootstrap: Count = 2000
    """Resamples of the images behind every interval."""
    probe_relations: Count = 400
    """Labelled relations of the probe, at most one an image."""
    probe_predicates: Annotated[int, Field(ge=2)] = 8
    """Predicates of the probe's vocabulary, the most frequent ones."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Cross-validation folds of the probe, by image."""
    regularisation: Positive = 1.0
    """Inverse strength C of the probe's logistic regression."""
    stress_images: Count = 100
    """Diagnosis images that the stress test encodes again under every corruption and attack."""
    severities: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1)] = (1, 3, 5)
    """Of the corruptions, 1 to 5. Three of them: the curves are smooth, and the area from all five differs by less than
    its interval."""
    epsilons: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2.0, 8.0)
    """Largest change of a pixel by an attack, in 1/255. Two of them, since every signal is attacked by itself: a mild
    one, and one at which the global similarity no longer tells wrong captions apart."""
    attack_steps: Count = 2
    """Of projected gradient descent at each epsilon, after the step of FGSM or from the strongest point of a smaller
    one."""
    attack_restarts: Count = 1
    """Runs of projected gradient descent, of which each image keeps the strongest; further ones start at random."""
    stress_typos: Annotated[tuple[Percent, ...], Field(min_length=1)] = (5.0, 10.0, 20.0)
    """Percent of words with a typo."""
    stress_word_order: Annotated[tuple[Percent, ...], Field(min_length=1)] = (20.0, 50.0, 100.0)
    """Percent of words that change places."""
    stress_substitutions: Count = 3
    """Words of a wrong caption that are replaced by adversarial ones, at most."""
    shuffle_prototypes: bool = False
    """Negative control: gives every image the prototypes of another, so that the gate must stop the run."""
