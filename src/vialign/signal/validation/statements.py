"""The probe on a split: its statements go through tower, parser and phrase units like any caption."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch

from vialign.config import SignalConfig
from vialign.disentangle import Phrases, TextDisentangler, align_units
from vialign.language.units import extract_units
from vialign.progress import track
from vialign.signal.calibration import SignalCalibration
from vialign.signal.stage import SplitFeatures, score_pairs
from vialign.signal.validation.probe import probe_features, probe_texts, run_probe
from vialign.tables import PROBE

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone

_BATCH = 256


def probe_split(
    features: SplitFeatures,
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
    texts = probe_texts(relations, objects, features.image_ids, config, seed)
    if texts.empty:
        return PROBE.empty()
    pooled, phrases = encode_statements(texts, backbone, nlp, text)
    stated = replace(features, text_ids=texts["text_id"].tolist(), text_pooled=pooled, phrases=phrases)
    pairs = texts[["image_id", "text_id"]].assign(kind="aligned")
    scores = score_pairs(pairs, stated, calibration, config, seed)
    embeddings = pd.DataFrame(features.image_pooled.numpy(), index=list(features.image_ids))
    return run_probe(probe_features(scores, texts, config.driver, embeddings), config, seed)


@torch.no_grad()
def encode_statements(
    texts: pd.DataFrame, backbone: "Backbone", nlp: "Language", text: TextDisentangler
) -> tuple[torch.Tensor, Phrases]:
    """Global embeddings and phrase units of texts (rows of TEXTS) that no feature store holds."""
    units, _ = extract_units(texts[["text_id", "text"]], nlp)
    by_text = dict(list(units.groupby("text_id", sort=False)))
    pooled, blocks = [], []
    for start in track(range(0, len(texts), _BATCH), "statements of the probe"):
        part = texts.iloc[start : start + _BATCH]
        tokens = backbone.tokenize(part["text"].tolist())
        embedding, states = backbone.text_tokens(tokens.ids)
        ids = part["text_id"].tolist()
        structure = align_units(pd.concat([by_text[key] for key in ids]), ids, tokens.offsets, tokens.mask)
        found = text(states, tokens.mask, structure)
        pooled.append(embedding)
        blocks.append(replace(found, assign=None))
    return torch.cat(pooled), Phrases.concatenate(blocks)
