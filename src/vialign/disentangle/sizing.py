"""Sizes of the disentanglers where the config says `auto`: from the labels and the images that they are fitted on.

The rule stands with its reasons in docs/method.md#24-sizes.
"""

import math

import torch

from vialign.config.disentangle import PASSES, TEXT_PASSES, TextConfig, VisualConfig
from vialign.disentangle.boxes import BoxTargets

EXAMPLES = 20
"""Images of a label that earn it an atom."""
ATOMS = (40, 512)
"""Fewest and most atoms; also the atoms of a dictionary without boxes: the fewest."""
BUSY = 0.9
"""Share of the labelled images that have no more labels than an image keeps prototypes."""
PROTOTYPES = (8, 16)
"""Fewest and most prototypes of an image; the fewest where there are no boxes."""
PATCHES = 4
"""Patches that there must be for each prototype beyond the fewest."""


def sized_visual(config: VisualConfig, targets: BoxTargets, patches: int) -> VisualConfig:
    """The config with a number for every `auto`; `targets` are those of the images that are fitted on.

    `patches` is how many an image has.
    """
    most = config.atoms if config.atoms != "auto" else ATOMS[1]
    prototypes = config.prototypes
    if prototypes == "auto":
        largest = max(PROTOTYPES[0], min(PROTOTYPES[1], patches // PATCHES))
        prototypes = min(most, max(PROTOTYPES[0], min(largest, _labels_of_most_images(targets))))
    atoms = config.atoms
    if atoms == "auto":
        atoms = max(prototypes, ATOMS[0], min(ATOMS[1], _frequent_labels(targets)))
    images = len(targets.label)
    steps = math.ceil(PASSES * images / min(config.batch, images)) if config.steps == "auto" else config.steps
    return config.model_copy(update={"atoms": atoms, "prototypes": prototypes, "steps": steps})


def sized_text(config: TextConfig, captions: int) -> TextConfig:
    """The config with a number for every `auto`; `captions` are those that the phrase units are fitted on."""
    steps = math.ceil(TEXT_PASSES * captions / min(config.batch, captions)) if config.steps == "auto" else config.steps
    return config.model_copy(update={"steps": steps})


def largest_visual(config: VisualConfig) -> VisualConfig:
    """The config with the most that `auto` can come to: what is counted where the data are not at hand."""
    atoms = ATOMS[1] if config.atoms == "auto" else config.atoms
    prototypes = min(PROTOTYPES[1], atoms) if config.prototypes == "auto" else config.prototypes
    return config.model_copy(update={"atoms": atoms, "prototypes": prototypes})


def _frequent_labels(targets: BoxTargets) -> int:
    """Labels that at least `EXAMPLES` images have."""
    counts = torch.bincount(targets.label[targets.label >= 0])
    return int((counts >= EXAMPLES).sum())


def _labels_of_most_images(targets: BoxTargets) -> int:
    """How many labels the share `BUSY` of the labelled images have at most; 0 without boxes."""
    counts = (targets.label >= 0).sum(dim=1)
    labelled = counts[counts > 0]
    return int(torch.quantile(labelled.double(), BUSY, interpolation="higher")) if len(labelled) else 0
