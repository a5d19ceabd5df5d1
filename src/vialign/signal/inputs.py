"""What the signal reads of a split, from the files of the stages before."""

from pathlib import Path

import torch

from vialign.disentangle.encoded import read_encoded
from vialign.features import read_images, read_texts
from vialign.signal.pairs import SplitFeatures


def read_split_features(image_features: str | Path, text_features: str | Path, encoded: str | Path) -> SplitFeatures:
    """Pooled embeddings from both stores, prototypes and phrases from the encoded split."""
    images, texts = read_images(image_features), read_texts(text_features)
    prototypes, phrases = read_encoded(encoded)
    return SplitFeatures(
        image_ids=list(images.ids),
        image_pooled=torch.as_tensor(images.pooled),
        prototypes=prototypes,
        text_ids=list(texts.ids),
        text_pooled=torch.as_tensor(texts.pooled),
        phrases=phrases,
    )
