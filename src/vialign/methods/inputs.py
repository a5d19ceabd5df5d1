"""What methods read of a split, from the files of the stages before."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.device import CPU, OnDevice
from vialign.features import BackboneFacts, read_images, read_texts
from vialign.features.regions import read_regions
from vialign.features.store import Rows, TextFeatures
from vialign.files.artifacts import read_table
from vialign.methods.ground import word_summary
from vialign.methods.objective import SplitData, assemble
from vialign.signal.inputs import read_split_features
from vialign.tables.language import TEXTS

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.features.pixels import PixelFiles

READ_BY_POSITION = ("pixels", "trunk", "token_ids", "patches", "states", "mask", "words")
"""What of a split a method may ask for row by row."""


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
    device: torch.device = CPU,
) -> SplitData:
    """One split; what else a method `needs` of it comes from IMAGES, their folders and the backbone.

    Features, prototypes, phrases, regions and pixels stay in their files, which are mapped or decoded: a batch reads
    its own rows. In memory is the table of texts. On another `device` than the CPU a batch comes there as it is read,
    and pooled embeddings lie there as a whole.
    """
    frame = read_table(texts, TEXTS)
    features = read_split_features(image_features, text_features, encoded, device)
    pixels: "Rows | PixelFiles | None" = None
    trunk = token_ids = patches = states = mask = words = marked = None
    if "pixels" in needs:
        pixels = read_images(image_features).pixels
        if pixels is None:
            from vialign.features.pixels import PixelFiles

            assert images is not None and folders is not None
            assert backbone is not None and not isinstance(backbone, BackboneFacts)
            ordered = images.set_index("image_id").loc[list(features.image_ids)].reset_index()
            pixels = PixelFiles(ordered, folders, backbone)
    if "trunk" in needs:
        trunk = read_images(image_features).trunk
    if "token_ids" in needs:
        token_ids = read_texts(text_features).token_ids
    if "patches" in needs:
        patches = read_images(image_features).rows("patches")
    if "states" in needs:
        stored = read_texts(text_features)
        states, mask = stored.rows("states"), stored.rows("mask")
    if "words" in needs:
        words = Words.of(read_texts(text_features))
    if "regions" in needs:
        assert regions is not None
        marked = read_regions(regions, list(features.image_ids)).bound_for(device)
    data = assemble(
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
    if device == CPU:
        return data
    held = {name: getattr(data, name) for name in READ_BY_POSITION}
    there: dict[str, Any] = {name: None if rows is None else OnDevice(rows, device) for name, rows in held.items()}
    return replace(data, **there)


@dataclass(frozen=True, eq=False)
class Words:
    """`word_summary` of the texts of a store: `words[index]` of the texts at these positions."""

    states: Rows
    mask: Rows
    dimension: int

    @classmethod
    def of(cls, features: TextFeatures) -> "Words":
        """Of the texts whose tokens these are."""
        return cls(features.rows("states"), features.rows("mask"), int(features.provenance["dimension"]))

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, index: Tensor) -> Float[Tensor, "text width"]:
        return word_summary(self.states[index], self.mask[index], self.dimension)
