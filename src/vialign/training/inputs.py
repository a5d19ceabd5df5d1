"""What methods read of a split, from the files of the stages before."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.artifacts import read_table
from vialign.features import read_images
from vialign.objective import SplitData, assemble
from vialign.signal.inputs import read_split_features
from vialign.tables import TEXTS

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def read_split(
    texts: str | Path,
    image_features: str | Path,
    text_features: str | Path,
    encoded: str | Path,
    *,
    needs: frozenset[str] = frozenset(),
    images: pd.DataFrame | None = None,
    folders: Mapping[str, Path] | None = None,
    backbone: "Backbone | None" = None,
) -> SplitData:
    """One split in memory; what else a method `needs` of it comes from IMAGES, their folders and the backbone.

    Bound: pixels take images x 3 x height x width bytes, everything else is one vector an image or text and the
    encoded prototypes and phrases.
    """
    frame = read_table(texts, TEXTS)
    features = read_split_features(image_features, text_features, encoded)
    pixels = trunk = token_ids = None
    if "pixels" in needs:
        from vialign.features import load_pixels

        assert images is not None and folders is not None and backbone is not None
        pixels = load_pixels(
            images.set_index("image_id").loc[list(features.image_ids)].reset_index(), folders, backbone
        )
    if "trunk" in needs:
        trunk = read_images(image_features).trunk
    if "token_ids" in needs:
        assert backbone is not None
        token_ids = backbone.tokenize(frame.set_index("text_id").loc[list(features.text_ids), "text"].tolist()).ids
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
    )
