"""Local parts that were not fitted as shipped: one that saw no labelled box, and one of random atoms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle import encode_images, encode_texts
from vialign.disentangle.prototype_quality import random_atoms
from vialign.disentangle.stage import VisualInputs, fit_and_measure_text, unboxed
from vialign.disentangle.types import Phrases, Prototypes
from vialign.disentangle.visual import VisualDisentangler
from vialign.disentangle.visual_fitting import fit_visual
from vialign.random import generator

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
    return _encode_fitted(blind, images, texts, features, units, visual, text, domain=domain, seed=seed)


def encode_labelled(
    count: int,
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
    """Every split with a dictionary fitted as shipped, but with the boxes of `count` images, drawn by the seed; the
    others are seen without theirs. None at all is `encode_unboxed`.
    """
    if count == 0:
        return encode_unboxed(inputs, images, texts, features, units, visual, text, domain=domain, seed=seed)
    boxed = inputs.boxes["train"]
    drawn = generator(seed, "labelled images").permutation(np.sort(boxed["image_id"].unique()))[:count]
    few = replace(inputs, boxes={**inputs.boxes, "train": boxed[boxed["image_id"].isin(drawn)]})
    return _encode_fitted(few, images, texts, features, units, visual, text, domain=domain, seed=seed)


def _encode_fitted(
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
    dictionary, _ = fit_visual(
        inputs.patches["train"],
        inputs.boxes["train"],
        inputs.images["train"],
        inputs.labels or None,
        visual,
        inputs.grid,
        seed,
        inputs.moved["train"],
        inputs.captions,
        inputs.resize_mode,
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
