"""What methods read of a split, from the files of the stages before."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from vialign.features import BackboneFacts, read_images, read_texts
from vialign.features.regions import read_regions
from vialign.features.store import ImageFeatures, TextFeatures
from vialign.files.artifacts import read_table
from vialign.methods.curriculum.ground import word_summary
from vialign.methods.objective import SplitData, assemble
from vialign.signal.inputs import read_split_features
from vialign.tables.language import TEXTS

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_ROWS = 1024
"""Rows read at a time: what is stored in half precision comes in single precision."""


def read_split(
    texts: str | Path,
    image_features: str | Path,
    text_features: str | Path,
    encoded: str | Path,
    *,
    needs: frozenset[str] = frozenset(),
    images: pd.DataFrame | None = None,
    folders: Mapping[str, Path] | None = None,
    backbone: "Backbone | BackboneFacts | None" = None,
    regions: str | Path | None = None,
) -> SplitData:
    """One split in memory; what else a method `needs` of it comes from IMAGES, their folders and the backbone.

    Bound: pixels take images x 3 x height x width bytes, patches and token states two bytes a number; everything else
    is one vector an image or text and the encoded prototypes and phrases. The file of `regions` is mapped, not read.
    """
    frame = read_table(texts, TEXTS)
    features = read_split_features(image_features, text_features, encoded)
    pixels = trunk = token_ids = patches = states = mask = words = marked = None
    if "pixels" in needs:
        from vialign.features import load_pixels

        assert images is not None and folders is not None
        assert backbone is not None and not isinstance(backbone, BackboneFacts)
        pixels = load_pixels(
            images.set_index("image_id").loc[list(features.image_ids)].reset_index(), folders, backbone
        )
    if "trunk" in needs:
        trunk = read_images(image_features).trunk
    if "token_ids" in needs:
        assert backbone is not None and not isinstance(backbone, BackboneFacts)
        token_ids = backbone.tokenize(frame.set_index("text_id").loc[list(features.text_ids), "text"].tolist()).ids
    if "patches" in needs:
        patches = read_patches(read_images(image_features))
    if "states" in needs:
        states, mask = read_states(read_texts(text_features))
    if "words" in needs:
        words = read_words(read_texts(text_features))
    if "regions" in needs:
        assert regions is not None
        marked = read_regions(regions, list(features.image_ids))
    return assemble(
        frame,
        list(features.image_ids),
        list(features.text_ids),
        features.image_pooled,
        features.text_pooled,
        features.prototypes,
        features.phrases,
        pixels=pixels,
        trunk=trunk,
        token_ids=token_ids,
        patches=patches,
        states=states,
        mask=mask,
        words=words,
        regions=marked,
    )


def read_patches(features: ImageFeatures) -> Float[Tensor, "image patch dim"]:
    """Patch tokens of all images, half precision, as they are stored."""
    return torch.cat([features.patches(start, stop).half() for start, stop in _ranges(len(features))])


def read_states(features: TextFeatures) -> tuple[Float[Tensor, "text token state"], Bool[Tensor, "text token"]]:
    """Token states of all texts, half precision, as they are stored, and their mask; padded to the longest text."""
    blocks = (features.block(start, stop)[:2] for start, stop in _ranges(len(features)))
    parts = [(states.half(), mask) for states, mask in blocks]
    longest = max(mask.shape[1] for _, mask in parts)
    states = torch.cat([pad(values, (0, 0, 0, longest - values.shape[1])) for values, _ in parts])
    return states, torch.cat([pad(mask, (0, longest - mask.shape[1])) for _, mask in parts])


def read_words(features: TextFeatures) -> Float[Tensor, "text width"]:
    """`word_summary` of all texts; of their token states one block is in memory at a time."""
    dimension = int(features.provenance["dimension"])
    blocks = (features.block(start, stop)[:2] for start, stop in _ranges(len(features)))
    return torch.cat([word_summary(states, mask, dimension) for states, mask in blocks])


def _ranges(rows: int) -> list[tuple[int, int]]:
    """Row ranges of `_ROWS` that cover a store; one empty range for an empty store."""
    return [(start, min(start + _ROWS, rows)) for start in range(0, max(1, rows), _ROWS)]
