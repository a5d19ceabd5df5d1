"""Local parts that are not as shipped: of few labelled boxes or none, of random atoms, and of ground-truth boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle import encode_images, encode_texts
from vialign.disentangle.boxes import box_targets, told_boxes
from vialign.disentangle.prototype_quality import random_atoms
from vialign.disentangle.stage import VisualInputs, fit_and_measure_text, unboxed
from vialign.disentangle.types import Phrases, Prototypes
from vialign.disentangle.visual import VisualDisentangler, VisualParts
from vialign.disentangle.visual_fitting import fit_visual
from vialign.progress import track_starts

if TYPE_CHECKING:
    from vialign.features import ImageFeatures, TextFeatures

_BLOCK = 256
"""Images whose patches are read together."""
Encoded = dict[str, tuple[Prototypes, Phrases]]
"""Prototypes and phrases of each split."""


@dataclass(frozen=True)
class Material:
    """What dictionaries and phrase units are fitted on, of `train`, and what they then encode, by split."""

    visual: VisualInputs
    images: Mapping[str, "ImageFeatures"]
    texts: Mapping[str, pd.DataFrame]
    """TEXTS."""
    features: Mapping[str, "TextFeatures"]
    units: Mapping[str, pd.DataFrame]
    """UNITS."""


def encode_labelled(
    count: int | None, material: Material, visual: VisualConfig, text: TextConfig, *, domain: str, seed: int
) -> Encoded:
    """Every split with a dictionary and phrase units fitted by this seed, told the boxes of `count` images (None: of
    all); the others are seen without theirs.

    With none at all the fit is that of a data set without boxes. The directions of relations are fitted on this
    dictionary's own prototypes, so no box reaches them either.
    """
    inputs = material.visual
    if count == 0:
        inputs = unboxed(inputs, material.features["train"])
    else:
        inputs = replace(inputs, boxes={**inputs.boxes, "train": told_boxes(inputs.boxes["train"], count, seed)})
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
    prototypes = {split: encode_images(dictionary, store) for split, store in material.images.items()}
    phrases, _, _ = fit_and_measure_text(
        prototypes["train"],
        list(material.images["train"].ids),
        material.texts,
        material.features,
        material.units,
        material.units["train"].iloc[:0],
        text,
        domain=domain,
        seed=seed,
    )
    return {
        split: (prototypes[split], encode_texts(phrases, material.features[split], material.units[split]))
        for split in material.images
    }


def encode_unfitted(
    images: Mapping[str, "ImageFeatures"], phrases: Mapping[str, Phrases], fitted: VisualDisentangler, seed: int
) -> Encoded:
    """Every split with prototypes of random atoms; phrases as they are."""
    dictionary = random_atoms(fitted, seed)
    return {split: (encode_images(dictionary, store), phrases[split]) for split, store in images.items()}


def encode_true_boxes(
    images: Mapping[str, "ImageFeatures"],
    phrases: Mapping[str, Phrases],
    fitted: VisualDisentangler,
    frame: pd.DataFrame,
    objects: pd.DataFrame,
    resize_mode: str,
) -> Encoded:
    """Every split with a prototype for each labelled box instead of those that the dictionary finds; phrases as they
    are.

    A box pools its patches by the share of each that it covers, through the dictionary's own residual map, and lies
    where it lies: what the local part would be if nothing had to be found. `frame` (IMAGES) and `objects` (OBJECTS) may
    hold more images than the splits.
    """
    found = {}
    ordered = frame.set_index("image_id")
    for split, store in images.items():
        rows = ordered.loc[list(store.ids)].reset_index()
        own = objects[objects["image_id"].isin(rows["image_id"])]
        coverage = box_targets(own, rows, fitted.grid, merge=False, resize_mode=resize_mode).coverage
        starts = track_starts(len(rows), _BLOCK, f"prototypes of the labelled boxes of {split}")
        blocks = (slice(start, min(start + _BLOCK, len(rows))) for start in starts)
        pooled = (_pooled(fitted, store.patches(part.start, part.stop), coverage[part].float()) for part in blocks)
        found[split] = (Prototypes.gathered(pooled, len(rows)), phrases[split])
    return found


def _pooled(
    fitted: VisualDisentangler,
    patches: Float[Tensor, "image patch dim"],
    coverage: Float[Tensor, "image target patch"],
) -> Prototypes:
    with torch.no_grad():
        unit = fitted.parts(patches).patches
        targets = torch.arange(coverage.shape[1]).expand(len(coverage), -1)
        prototypes = fitted.prototypes_of(VisualParts(unit, coverage.transpose(1, 2), targets))
    return replace(prototypes, maps=None)
