"""The two fits of this stage, each with its measurement on held-out data."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from vialign.config import TextConfig, VisualConfig
from vialign.disentangle.boxes import embed_labels
from vialign.disentangle.moved import patches_of, shift_content
from vialign.disentangle.quality import text_quality, visual_quality
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.text_fitting import fit_text
from vialign.disentangle.types import Prototypes
from vialign.disentangle.visual import VisualDisentangler
from vialign.disentangle.visual_fitting import fit_visual
from vialign.features import load_pixels
from vialign.tables import QUALITY

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.features import ImageFeatures, TextFeatures

_CAPTIONS = 5
"""Captions of an image that the local contrastive loss draws from."""


def fit_and_measure_visual(
    backbone: "Backbone",
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    features: Mapping[str, "ImageFeatures"],
    texts: "TextFeatures",
    config: VisualConfig,
    *,
    domain: str,
    seed: int,
) -> tuple[VisualDisentangler, pd.DataFrame, pd.DataFrame]:
    """Fit the dictionary on `train` and measure it on `validation`: the module, its QUALITY rows and the fit's log.

    With boxes the fit is guided by purity and by the labels' embeddings. A data set without boxes is fitted on
    reconstruction, sparsity, stability and its own captions instead.
    """
    ordered = {split: images.set_index("image_id").loc[store.ids].reset_index() for split, store in features.items()}
    moved = {
        split: _moved(backbone, frame, folders, features[split].readout, config.images)
        for split, frame in ordered.items()
    }
    boxes = {split: objects[objects["image_id"].isin(frame["image_id"])] for split, frame in ordered.items()}
    labels = embed_labels(objects, backbone)
    kept = {split: frame.iloc[: config.images] for split, frame in ordered.items()}
    train = features["train"].patches(0, len(kept["train"]))
    captions = None if labels else _caption_embeddings(texts, list(kept["train"]["image_id"]))
    visual, log = fit_visual(
        train,
        boxes["train"],
        kept["train"],
        labels or None,
        config,
        backbone.grid,
        seed,
        *moved["train"],
        captions=captions,
        resize_mode=backbone.resize_mode,
    )
    quality = visual_quality(
        visual.eval(),
        features["validation"].patches(0, len(kept["validation"])),
        kept["validation"],
        boxes["validation"],
        domain,
        seed,
        reference_patches=train[:500],
        label_embeddings=labels or None,
        flipped=moved["validation"][0],
        shifted=moved["validation"][1],
        resize_mode=backbone.resize_mode,
    )
    return visual, quality, log


def fit_and_measure_text(
    prototypes: Prototypes,
    image_ids: list[str],
    texts: Mapping[str, pd.DataFrame],
    features: Mapping[str, "TextFeatures"],
    units: Mapping[str, pd.DataFrame],
    gold: pd.DataFrame,
    config: TextConfig,
    *,
    domain: str,
    seed: int,
) -> tuple[TextDisentangler, pd.DataFrame, pd.DataFrame]:
    """Fit the phrase units on `train` and measure all paths against `gold` units (none: no rows) of `validation`."""
    frame = texts["train"].set_index("text_id").loc[features["train"].ids]
    position = pd.Series(range(len(image_ids)), index=image_ids)
    image_of_text = torch.as_tensor(position.loc[frame["image_id"]].to_numpy())
    captions = torch.as_tensor((frame["kind"] == "caption").to_numpy().nonzero()[0])
    text, log = fit_text(features["train"], units["train"], image_of_text, prototypes, config, seed, captions)
    if gold.empty:
        return text, QUALITY.empty(), log
    return text, text_quality(text.eval(), features["validation"], gold, units["validation"], domain, seed), log


def _moved(
    backbone: "Backbone", frame: pd.DataFrame, folders: Mapping[str, Path], readout: str, limit: int
) -> tuple[Tensor, Tensor]:
    pixels = load_pixels(frame.iloc[:limit], folders, backbone)
    return patches_of(backbone, pixels.flip(-1), readout), patches_of(
        backbone, shift_content(pixels, backbone.grid), readout
    )


def _caption_embeddings(texts: "TextFeatures", image_ids: list[str]) -> Tensor:
    """(image, caption, dim) pooled embeddings of each image's first captions, repeated where it has fewer."""
    rows: dict[str, list[int]] = {image_id: [] for image_id in image_ids}
    for row, text_id in enumerate(texts.ids):
        image_id = text_id.rpartition("#")[0]
        if image_id in rows and "!" not in text_id:
            rows[image_id].append(row)
    picked = [[found[k % len(found)] for k in range(_CAPTIONS)] for found in rows.values()]
    return texts.pooled[torch.tensor(picked)]
