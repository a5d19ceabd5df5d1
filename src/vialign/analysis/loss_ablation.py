"""What each term of the disentanglers' losses is good for: fitted again without it, measured on the same items.

Leaving a term out is setting its weight to 0. A dictionary that is fitted otherwise gets phrases of its own before
S_local is measured, since phrases are fitted towards prototypes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle import VisualDisentangler, encode_images, encode_texts
from vialign.disentangle.measured import Measured, resampled_ratios
from vialign.disentangle.stage import VisualInputs, fit_and_measure_text, fit_and_measure_visual
from vialign.progress import track
from vialign.signal.pairs import source_caption
from vialign.signal.score import local_similarity, relation_queries
from vialign.signal.validation.resampling import wins
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.language import LOSS_ABLATION

if TYPE_CHECKING:
    from vialign.features import ImageFeatures, TextFeatures

VISUAL_TERMS = ("reconstruction", "sparsity", "usage", "purity", "alignment", "stability")
"""Weights of `VisualConfig`."""
TEXT_TERMS = ("kind", "begin", "subject", "object", "alignment", "relation")
"""Weights of `TextConfig`."""
NONE = "none"
"""What the full loss leaves out."""
SHOWN = {"dictionary", "span path main", "S_local"}
"""Subjects that a fit can change; references and the parser's path stay as they are."""
_BLOCK = 4096


@dataclass(frozen=True)
class TextInputs:
    """What phrases are fitted on and measured on, by split (`train`, `selection`)."""

    images: Mapping[str, "ImageFeatures"]
    texts: Mapping[str, pd.DataFrame]
    """TEXTS, negatives among them."""
    features: Mapping[str, "TextFeatures"]
    units: Mapping[str, pd.DataFrame]
    """UNITS of the parser."""
    gold: pd.DataFrame
    """UNITS of the captions of `selection` that have gold brackets."""


def ablate_losses(
    visual_inputs: VisualInputs, text_inputs: TextInputs, visual: VisualConfig, text: TextConfig, domain: str, seed: int
) -> pd.DataFrame:
    """Every measure of the full loss and of the loss without each of its terms; rows of `LOSS_ABLATION`.

    A term that the config gives no weight is not tried. Differences are without the term minus with it, with a 95 %
    bootstrap interval that resamples the same images (or texts) for both.
    """
    variants = [
        ("visual", NONE),
        *(("visual", term) for term in VISUAL_TERMS if getattr(visual, term) > 0),
        *(("text", term) for term in TEXT_TERMS if getattr(text, term) > 0),
    ]
    measured: dict[tuple[str, str], Measured] = {}
    for part, term in track(variants, "fits without one term of the loss"):
        if part == "visual":
            without = visual.model_copy(update={} if term == NONE else {term: 0.0})
            dictionary, found, _ = fit_and_measure_visual(visual_inputs, without, domain=domain, seed=seed)
            phrases = _fit_text(dictionary, text_inputs, text, domain, seed)
            if term == NONE:
                full = dictionary
                measured["text", NONE] = phrases
            found.rows += [row for row in phrases.rows if row.subject == "S_local"]
            measured[part, term] = found
        else:
            phrases = _fit_text(full, text_inputs, text.model_copy(update={term: 0.0}), domain, seed)
            measured[part, term] = phrases
    rows = [
        {"part": part, "left_out": term, **row}
        for (part, term), found in measured.items()
        for row in compared(found, measured[part, NONE], seed)
        if row["subject"] in SHOWN
    ]
    return LOSS_ABLATION.check(pd.DataFrame(rows))


def compared(found: Measured, reference: Measured, seed: int) -> Iterator[dict[str, object]]:
    """Each measure of `found` that `reference` has too: value, interval, and paired difference with its interval.

    Both must have measured the same items. Measures that are no mean over items have no intervals.
    """
    others = {(row.subject, row.measure): row for row in reference.rows}
    for row in found.rows:
        other = others.get((row.subject, row.measure))
        if other is None:
            continue
        ends = [np.nan] * 4
        if row.items is not None and other.items is not None:
            resampled = resampled_ratios([row.items, other.items], seed)
            both = np.stack([resampled[:, 0], resampled[:, 0] - resampled[:, 1]], axis=1)
            ends = np.nanquantile(both, [0.025, 0.975], axis=0).T.reshape(-1).tolist()
        yield {
            "subject": row.subject,
            "measure": row.measure,
            "value": row.value,
            "difference": row.value - other.value,
            **dict(zip(("low", "high", "difference_low", "difference_high"), ends, strict=True)),
            "count": row.count,
        }


def _fit_text(visual: VisualDisentangler, inputs: TextInputs, config: TextConfig, domain: str, seed: int) -> Measured:
    """Phrases for this dictionary: their spans against gold, and how well S_local tells negatives."""
    train = inputs.images["train"]
    text, measured, _ = fit_and_measure_text(
        encode_images(visual, train),
        list(train.ids),
        inputs.texts,
        inputs.features,
        inputs.units,
        inputs.gold,
        config,
        domain=domain,
        seed=seed,
    )
    images, features = inputs.images["selection"], inputs.features["selection"]
    prototypes = encode_images(visual, images)
    phrases = encode_texts(text, features, inputs.units["selection"])
    frame = inputs.texts["selection"].set_index("text_id").loc[features.ids].reset_index()
    owner = pd.Index(images.ids).get_indexer(pd.Index(frame["image_id"]))
    scores = []
    for place in torch.arange(len(frame)).split(_BLOCK):
        left, right = prototypes.index(torch.from_numpy(owner)[place]), phrases.index(place)
        local = left.features, right.features, right.weight, left.mass, left.moments
        scores.append(local_similarity(*local, relation_queries(right)))
    add_local_rows(measured, frame, owner, torch.cat(scores).double().numpy(), len(images.ids))
    return measured


def add_local_rows(measured: Measured, texts: pd.DataFrame, owner: np.ndarray, scores: np.ndarray, images: int) -> None:
    """AUC of S_local by kind of rule-made negative: how often the caption scores above what was made of it.

    `texts` (TEXTS) has one row a score; `owner` is the number of its image, of `images` in all.
    """
    place = pd.Series(np.arange(len(texts)), index=texts["text_id"])
    for kind in NEGATIVE_KINDS:
        wrong = np.flatnonzero(texts["kind"] == kind)
        right = place.loc[source_caption(texts["text_id"].iloc[wrong])].to_numpy()
        won = wins(scores[right], scores[wrong])
        counts = [np.bincount(owner[wrong], weights, images) for weights in (won, np.ones(len(wrong)))]
        measured.ratio("S_local", f"auc {kind}", *counts)
