"""Labelled boxes: what they cover on the patch grid, and the text embeddings of their labels."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.data.base import object_label, object_phrase

if TYPE_CHECKING:
    from vialign.backbone import Backbone


def object_labels(objects: pd.DataFrame) -> pd.Series:
    """The words that name each object's class: its first attribute, where it has one, and its name ("red circle").

    Further attributes are left out: each would split the classes again, and few patches show them. `objects` has the
    columns of `vialign.tables.data.OBJECTS`; the result has its index.
    """
    pairs = zip(objects["attributes"], objects["name"], strict=True)
    return pd.Series([object_label(name, attributes) for attributes, name in pairs], index=objects.index, dtype=object)


@torch.no_grad()
def embed_labels(labels: Iterable[str], backbone: "Backbone", batch: int = 256) -> dict[str, Tensor]:
    """The unit text embedding, on the CPU, of every distinct label, said with its article ("a red circle")."""
    distinct = sorted(set(labels))
    embedded: dict[str, Tensor] = {}
    for start in range(0, len(distinct), batch):
        block = distinct[start : start + batch]
        ids = backbone.tokenize([object_phrase(label, []) for label in block]).ids.to(backbone.device)
        embedded |= dict(zip(block, backbone.encode_text(ids).cpu(), strict=True))
    return embedded


def box_coverage(corners: Float[np.ndarray, "box 4"], grid: tuple[int, int]) -> Float[np.ndarray, "box patch"]:
    """Share of every patch that a box covers; boxes are x0, y0, x1, y1 in [0, 1] of what the image tower sees.

    `grid` is rows, columns; patches are row-major.
    """
    rows, columns = grid
    across = _overlap(corners[:, 0], corners[:, 2], columns)
    down = _overlap(corners[:, 1], corners[:, 3], rows)
    return (down[:, :, None] * across[:, None, :]).reshape(len(corners), rows * columns)


def _overlap(low: np.ndarray, high: np.ndarray, cells: int) -> np.ndarray:
    """Share of each of `cells` equal parts of [0, 1] that lies between low and high."""
    edges = np.linspace(0, 1, cells + 1)
    length = np.minimum(high[:, None], edges[None, 1:]) - np.maximum(low[:, None], edges[None, :-1])
    return np.clip(length, 0, None) * cells
