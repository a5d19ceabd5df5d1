"""The two fits of this stage, each with its measurement on held-out data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.device import CPU
from vialign.disentangle.boxes import told_boxes
from vialign.disentangle.caption_data import type_captions
from vialign.disentangle.measured import Measured
from vialign.disentangle.moved import FITTED_MOVES, MOVES, attention_of, patches_of
from vialign.disentangle.prototype_quality import visual_quality
from vialign.disentangle.quality import text_quality
from vialign.disentangle.readings import read_both
from vialign.disentangle.span_table import span_rows
from vialign.disentangle.spatial import set_spatial
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.text_fitting import fit_text
from vialign.disentangle.types import Prototypes
from vialign.disentangle.visual import VisualDisentangler
from vialign.disentangle.visual_fitting import fit_visual
from vialign.features import load_pixels
from vialign.features.boxes import embed_labels, object_labels
from vialign.language.typos import with_typos
from vialign.random import generator
from vialign.tables.language import SPANS

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone
    from vialign.features import ImageFeatures, TextFeatures

_CAPTIONS = 5
"""Captions of an image that the local contrastive loss draws from."""
_REFERENCE = 500
"""Images of `train` whose patches the k-means reference clusters."""


@dataclass(frozen=True)
class VisualInputs:
    """What the dictionary is fitted on (`train`) and measured on (`selection`), by split, in memory."""

    images: dict[str, pd.DataFrame]
    """IMAGES, in the order of the patches."""
    boxes: dict[str, pd.DataFrame]
    """OBJECTS of those images; none for a data set without boxes."""
    patches: dict[str, Tensor]
    moved: dict[str, dict[str, Tensor]]
    """By move; those of `train` are what stability is fitted on, those of `selection` what it is measured on."""
    attention: Tensor | None
    """Attention of the pooled token on `selection`, where the tower has one."""
    labels: dict[str, Tensor]
    """Text embedding of every label; empty without boxes."""
    captions: Tensor | None
    """Embeddings of the captions of `train`, where there are no boxes."""
    grid: tuple[int, int]
    resize_mode: str


def read_visual(
    backbone: "Backbone",
    images: pd.DataFrame,
    objects: pd.DataFrame,
    folders: Mapping[str, Path],
    features: Mapping[str, "ImageFeatures"],
    texts: "TextFeatures",
    config: VisualConfig,
    seed: int,
) -> VisualInputs:
    """At most `config.images` images of each split of `features`: their patches from the store, and those of the moved
    images anew. Of `train` the boxes of `config.labelled` images are read, of `selection` all. Without `selection`
    there is nothing to measure on, and what is read can only be fitted.

    Raises ValueError when an image is in both splits.
    """
    ordered = images.set_index("image_id")
    kept = {split: ordered.loc[store.ids[: config.images]].reset_index() for split, store in features.items()}
    twice = set.intersection(*(set(frame["image_id"]) for frame in kept.values())) if len(kept) > 1 else set()
    if twice:
        raise ValueError(f"image {min(twice)!r} would be both fitted and measured ({len(twice)} images are)")
    moved, attention = {}, None
    for split in features:
        moves = FITTED_MOVES if split == "train" else tuple(MOVES)
        pixels = load_pixels(kept[split], folders, backbone)
        readout = features[split].readout
        moved[split] = {
            move: patches_of(backbone, MOVES[move].pixels(pixels, backbone.grid), readout) for move in moves
        }
        attention = attention_of(backbone, pixels) if split == "selection" else None
    boxes = {split: objects[objects["image_id"].isin(frame["image_id"])] for split, frame in kept.items()}
    boxes["train"] = told_boxes(boxes["train"], config.labelled, seed)
    labels = embed_labels(object_labels(pd.concat(boxes.values())), backbone)
    return VisualInputs(
        kept,
        boxes,
        {split: features[split].patches(0, len(frame)) for split, frame in kept.items()},
        moved,
        attention,
        labels,
        None if labels else _caption_embeddings(texts, list(kept["train"]["image_id"])),
        backbone.grid,
        backbone.resize_mode,
    )


def unboxed(inputs: VisualInputs, texts: "TextFeatures") -> VisualInputs:
    """The same images as if nobody had labelled a box in them: captions take the place of labels."""
    return replace(
        inputs,
        boxes={split: boxes.iloc[:0] for split, boxes in inputs.boxes.items()},
        labels={},
        captions=_caption_embeddings(texts, list(inputs.images["train"]["image_id"])),
    )


def fit_and_measure_visual(
    inputs: VisualInputs, config: VisualConfig, *, domain: str, seed: int, device: torch.device = CPU
) -> tuple[VisualDisentangler, Measured, pd.DataFrame]:
    """Fit the dictionary on `train` and measure it on `selection`: the module, its measures and the fit's log.

    With boxes the fit is guided by purity and by the labels' embeddings. A data set without boxes is fitted on
    reconstruction, sparsity, stability and its own captions instead. `device` is where the fit takes its steps.
    """
    visual, log = fit_visual(
        inputs.patches["train"],
        inputs.boxes["train"],
        inputs.images["train"],
        inputs.labels or None,
        config,
        inputs.grid,
        seed,
        inputs.moved["train"],
        inputs.captions,
        inputs.resize_mode,
        device,
    )
    measured = visual_quality(
        visual,
        inputs.patches["selection"],
        inputs.images["selection"],
        inputs.boxes["selection"],
        domain,
        seed,
        reference_patches=inputs.patches["train"][:_REFERENCE],
        label_embeddings=inputs.labels or None,
        moved=inputs.moved["selection"],
        attention=inputs.attention,
        resize_mode=inputs.resize_mode,
    )
    return visual, measured, log


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
    backbone: "Backbone | None" = None,
    nlp: "Language | None" = None,
    device: torch.device = CPU,
) -> tuple[TextDisentangler, Measured, pd.DataFrame]:
    """Fit the phrase units on `train` and measure all paths against `gold` units (none: no rows) of `selection`.

    With `backbone` and `nlp` some captions are read again with typos, and the gate is fitted. `device` is where the fit
    takes its steps.
    """
    frame = texts["train"].set_index("text_id").loc[features["train"].ids]
    position = pd.Series(range(len(image_ids)), index=image_ids)
    image_of_text = torch.tensor(position.loc[frame["image_id"]].to_numpy())
    captions = torch.as_tensor((frame["kind"] == "caption").to_numpy().nonzero()[0])
    typed = None
    if backbone is not None and nlp is not None:
        typed = type_captions(frame.reset_index(), units["train"], captions, config, backbone, nlp, seed)
    told = features["train"], units["train"], image_of_text, prototypes
    text, log = fit_text(*told, config, seed, captions, typed, device)
    set_spatial(text, features["train"], units["train"], frame["text"].tolist(), captions)
    if gold.empty:
        return text, Measured(domain, seed), log
    return text, text_quality(text, features["selection"], gold, units["selection"], domain, seed), log


def measure_typos(
    text: TextDisentangler,
    texts: pd.DataFrame,
    gold: pd.DataFrame,
    backbone: "Backbone",
    nlp: "Language",
    config: TextConfig,
    *,
    domain: str,
    seed: int,
) -> pd.DataFrame:
    """Spans of all paths at every share of typos, on texts (TEXTS) that have `gold` units; rows of SPANS."""
    known = texts[texts["text_id"].isin(gold["text_id"])]
    if known.empty:
        return SPANS.empty()
    rows = generator(seed, "measured texts").permutation(len(known))[: config.measured_texts]
    chosen = known.iloc[np.sort(rows)]
    frames = []
    for rate in config.typos:
        readings = read_both(*with_typos(chosen, gold, rate, seed), backbone, nlp)
        frames.append(span_rows(text, readings, trained_on=domain, domain=domain, typos=rate, seed=seed))
    return pd.concat(frames, ignore_index=True)


def _caption_embeddings(texts: "TextFeatures", image_ids: list[str]) -> Tensor:
    """(image, caption, dim) pooled embeddings of each image's first captions, repeated where it has fewer."""
    rows: dict[str, list[int]] = {image_id: [] for image_id in image_ids}
    for row, text_id in enumerate(texts.ids):
        image_id = text_id.rpartition("#")[0]
        if image_id in rows and "!" not in text_id:
            rows[image_id].append(row)
    picked = [[found[k % len(found)] for k in range(_CAPTIONS)] for found in rows.values()]
    return texts.pooled[torch.tensor(picked)]
