"""What the signal reads of a split, from the files of the stages before."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vialign.device import CPU, to_device
from vialign.disentangle import Prototypes, encode_images, load_visual
from vialign.disentangle.encoded import as_stored, read_encoded
from vialign.features import read_images, read_texts
from vialign.signal.pairs import SplitFeatures


def read_split_features(
    image_features: str | Path, text_features: str | Path, encoded: str | Path, device: torch.device = CPU
) -> SplitFeatures:
    """Pooled embeddings from both stores, prototypes and phrases from the encoded split.

    On another `device` than the CPU pooled embeddings lie there as a whole; of the rest come the rows that are asked
    for.
    """
    images, texts = read_images(image_features), read_texts(text_features)
    prototypes, phrases = read_encoded(encoded)
    return SplitFeatures(
        image_ids=list(images.ids),
        image_pooled=to_device(images.pooled, device),
        prototypes=prototypes.bound_for(device),
        text_ids=list(texts.ids),
        text_pooled=to_device(texts.pooled, device),
        phrases=phrases.bound_for(device),
    )


@dataclass(frozen=True)
class ImageSide:
    """The images of a split, of which no text need be known."""

    ids: Sequence[str]
    pooled: Float[Tensor, "image dim"]
    """Global embeddings, unit length."""
    prototypes: Prototypes


def read_image_side(image_features: str | Path, visual: str | Path) -> ImageSide:
    """Pooled embeddings from the store, and prototypes by the dictionary, as they would come back from a file."""
    store = read_images(image_features)
    prototypes = as_stored(encode_images(load_visual(visual), store))
    return ImageSide(list(store.ids), torch.as_tensor(store.pooled), prototypes)
