"""Images and texts of a user's own in memory, encoded once: what looks at the same pairs more than once needs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.disentangle import Phrases, Prototypes
from vialign.errors import UserError
from vialign.progress import track_blocks, track_starts
from vialign.signal.pairs import SplitFeatures
from vialign.toolkit.captions import Captions
from vialign.toolkit.encoder import Encoder, image_features, prototypes_of, to_pixels
from vialign.toolkit.fitting import blocks
from vialign.toolkit.images import Broken
from vialign.toolkit.scoring import TEXTS

if TYPE_CHECKING:
    from vialign.disentangle import VisualDisentangler

LEAST = 20
"""Images below which no interval means anything."""


@dataclass(frozen=True)
class Seen:
    """What is known of the images that could be read."""

    names: list[str]
    pooled: Float[Tensor, "image dim"]
    """Unit length."""
    prototypes: list[Prototypes]
    """Of the encoder's dictionary, then of each other one."""


def see(
    encoder: Encoder, captions: Captions, images: Sequence[str], batch: int, *others: "VisualDisentangler", needs: str
) -> Seen:
    """Read some images of the folder and encode them, their prototypes by other dictionaries too.

    `images` are those that no fit has used, `needs` says what they are for. Raises UserError when fewer than 20 of
    them can be read.
    """
    broken = Broken(captions.strict, len(images), captions.tolerance)
    dictionaries, names = (encoder.visual, *others), list[str]()
    pooled: list[Tensor] = []
    found: list[list[Prototypes]] = [[] for _ in dictionaries]
    for some in track_blocks(blocks(list(images), batch), "images", len(images)):
        read = {name: broken.read(captions.folder, name) for name in some}
        pictures = {name: picture for name, picture in read.items() if picture is not None}
        if not pictures:
            continue
        pixels = to_pixels(encoder.backbone, list(pictures.values()))
        embeddings, patches = image_features(encoder.backbone, pixels, encoder.readout)
        names.extend(pictures)
        pooled.append(embeddings)
        for dictionary, listed in zip(dictionaries, found, strict=True):
            listed.append(prototypes_of(dictionary, patches))
    broken.report()
    if len(names) < LEAST:
        raise UserError(
            f"{captions.file}: {len(names)} of its images can be read and were used neither to fit nor to calibrate "
            f"the signal; {needs} {LEAST}: give more images, or other ones than those of the fit"
        )
    return Seen(names, torch.cat(pooled), [Prototypes.concatenate(listed) for listed in found])


def with_texts(seen: Seen, encoder: Encoder, texts: pd.DataFrame, batch: int) -> SplitFeatures:
    """The images with some texts (`text_id`, `text`) beside them."""
    ids, said, size = texts["text_id"].tolist(), texts["text"].tolist(), TEXTS * batch
    sides = [
        encoder.texts(said[start : start + size], ids[start : start + size])
        for start in track_starts(len(texts), size, "texts")
    ]
    return SplitFeatures(
        image_ids=seen.names,
        image_pooled=seen.pooled,
        prototypes=seen.prototypes[0],
        text_ids=ids,
        text_pooled=torch.cat([side.pooled for side in sides]),
        phrases=Phrases.concatenate([side.phrases for side in sides]),
    )
