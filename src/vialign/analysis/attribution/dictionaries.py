"""Local parts that were not fitted as shipped: one that saw no labelled box, and one of random atoms."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle import encode_images, encode_texts
from vialign.disentangle.prototype_quality import random_atoms
from vialign.disentangle.stage import VisualInputs, fit_and_measure_text, unboxed
from vialign.disentangle.types import Phrases, Prototypes
from vialign.disentangle.visual import VisualDisentangler
from vialign.disentangle.visual_fitting import fit_visual

if TYPE_CHECKING:
    from vialign.features import ImageFeatures, TextFeatures

Encoded = dict[str, tuple[Prototypes, Phrases]]
"""Prototypes and phrases of each split."""


def encode_unboxed(
    inputs: VisualInputs,
    images: Mapping[str, "ImageFeatures"],
    texts: Mapping[str, pd.DataFrame],
    features: Mapping[str, "TextFeatures"],
    units: Mapping[str, pd.DataFrame],
    visual: VisualConfig,
    text: TextConfig,
    *,
    domain: str,
    seed: int,
) -> Encoded:
    """Every split with a dictionary and phrase units that were fitted as on a data set without boxes.

    The directions of relations are fitted on this dictionary's own prototypes, so no box reaches them either.
    """
    blind = unboxed(inputs, features["train"])
    dictionary, _ = fit_visual(
        blind.patches["train"],
        blind.boxes["train"],
        blind.images["train"],
        None,
        visual,
        blind.grid,
        seed,
        blind.moved["train"],
        blind.captions,
        blind.resize_mode,
    )
    prototypes = {split: encode_images(dictionary, store) for split, store in images.items()}
    phrases, _, _ = fit_and_measure_text(
        prototypes["train"],
        list(images["train"].ids),
        texts,
        features,
        units,
        units["train"].iloc[:0],
        text,
        domain=domain,
        seed=seed,
    )
    return {split: (prototypes[split], encode_texts(phrases, features[split], units[split])) for split in images}


def encode_unfitted(
    images: Mapping[str, "ImageFeatures"], phrases: Mapping[str, Phrases], fitted: VisualDisentangler, seed: int
) -> Encoded:
    """Every split with prototypes of random atoms; phrases as they are."""
    dictionary = random_atoms(fitted, seed)
    return {split: (encode_images(dictionary, store), phrases[split]) for split, store in images.items()}
