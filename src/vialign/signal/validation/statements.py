"""The probe on a split: its statements go through tower, parser and phrase units like any caption."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from vialign.config.signal import SignalConfig
from vialign.device import to_device
from vialign.disentangle import Phrases, TextDisentangler, align_units
from vialign.language.units import extract_units
from vialign.progress import track_starts
from vialign.signal.calibration import SignalCalibration
from vialign.signal.inputs import ImageSide
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.signal.validation.probe import probe_features, probe_texts, run_probe
from vialign.tables.signal import PROBE

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone

_BATCH = 256


def probe_split(
    images: ImageSide,
    relations: pd.DataFrame,
    objects: pd.DataFrame,
    backbone: "Backbone",
    nlp: "Language",
    text: TextDisentangler,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
) -> pd.DataFrame:
    """PROBE of a split; no rows where it has too few labelled relations, and the gate then says "not available"."""
    texts = probe_texts(relations, objects, images.ids, config, seed)
    if texts.empty:
        return PROBE.empty()
    pooled, phrases = encode_statements(texts, backbone, nlp, text)
    stated = SplitFeatures(
        image_ids=images.ids,
        image_pooled=images.pooled,
        prototypes=images.prototypes,
        text_ids=texts["text_id"].tolist(),
        text_pooled=pooled,
        phrases=phrases,
    )
    pairs = texts[["image_id", "text_id"]].assign(kind="aligned")
    scores = score_pairs(pairs, stated, calibration, config, seed)
    embeddings = pd.DataFrame(images.pooled.numpy(), index=list(images.ids))
    return run_probe(probe_features(scores, texts, config.driver, embeddings), config, seed)


@torch.no_grad()
def encode_statements(
    texts: pd.DataFrame, backbone: "Backbone", nlp: "Language", text: TextDisentangler
) -> tuple[torch.Tensor, Phrases]:
    """Global embeddings and phrase units of texts (`text_id`, `text`) that no feature store holds, in their order.

    Texts of like length are encoded together. What comes back is where the disentangler is.
    """
    here = text.mean.device
    units, _ = extract_units(texts, nlp)
    order = np.argsort(texts["text"].str.len().to_numpy(), kind="stable")
    pooled, blocks = [], []
    for start in track_starts(len(texts), _BATCH, "encode texts"):
        part = texts.iloc[order[start : start + _BATCH]]
        tokens = backbone.tokenize(part["text"].tolist())
        embedding, states = backbone.text_tokens(to_device(tokens.ids, backbone.device))
        own = units[units["text_id"].isin(part["text_id"])]
        structure = align_units(own, part["text_id"].tolist(), tokens.offsets, tokens.mask).to(here)
        found = text(states.to(here), to_device(tokens.mask, here), structure)
        pooled.append(embedding.to(here))
        blocks.append(replace(found, assign=None))
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    return torch.cat(pooled)[back], Phrases.concatenate(blocks).index(back)
