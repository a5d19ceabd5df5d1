"""Images of a folder with their captions as a split that methods are trained and measured on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vialign.disentangle.types import Phrases
from vialign.errors import UserError
from vialign.methods.objective import SplitData, assemble
from vialign.progress import track_starts
from vialign.toolkit.captions import Captions
from vialign.toolkit.diagnosing import with_negatives
from vialign.toolkit.encoder import image_features, prototypes_of, to_pixels
from vialign.toolkit.fitting import texts_of
from vialign.toolkit.images import Broken
from vialign.toolkit.signal import Signal


def encode_split(
    signal: Signal, captions: Captions, images: Sequence[str], broken: Broken, seed: int, batch: int
) -> tuple[SplitData, Float[Tensor, "image patch dim"]]:
    """Captions and rule-made negatives of these images, encoded, and the patches of the images in half precision.

    Images that cannot be read are left out with their captions. All of it is in memory. Raises UserError as `Broken`.
    """
    encoder = signal.encoder
    names: list[str] = []
    pooled, patches = [], []
    for start in track_starts(len(images), batch, "images"):
        read = {name: broken.read(captions.folder, name) for name in images[start : start + batch]}
        pictures = {name: picture for name, picture in read.items() if picture is not None}
        if pictures:
            whole, parts = image_features(
                encoder.backbone, to_pixels(encoder.backbone, list(pictures.values())), encoder.readout
            )
            names += pictures
            pooled.append(whole)
            patches.append(parts.half())
    if not names:
        raise UserError(f"{captions.folder}: none of the images can be read; the first: {broken.first}")
    found = torch.cat(patches)
    texts = with_negatives(texts_of(captions.table, names), encoder.parser, seed)
    words, ids = texts["text"].tolist(), texts["text_id"].tolist()
    sides = [
        encoder.texts(words[start : start + 4 * batch], ids[start : start + 4 * batch])
        for start in track_starts(len(ids), 4 * batch, "captions and negatives")
    ]
    data = assemble(
        texts,
        names,
        ids,
        torch.cat(pooled),
        torch.cat([side.pooled for side in sides]),
        prototypes_of(encoder.visual, found.float()),
        Phrases.concatenate([side.phrases for side in sides]),
    )
    return data, found
