"""Which relations two boxes decide, told from their words: there geometry is the match, elsewhere it adds to it.

The main path reads no words, only their token embeddings. So, once the units are fitted, the embeddings of the
relations in the captions are sorted by what the words say (`vialign.language.lexicon.is_spatial`).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.disentangle.structure import align_units
from vialign.disentangle.text import TextDisentangler
from vialign.language.lexicon import is_spatial

if TYPE_CHECKING:
    from vialign.features import TextFeatures

CAPTIONS = 2000
"""Captions whose relations are read, at most."""
_BLOCK = 256


@torch.no_grad()
def set_spatial(
    text: TextDisentangler,
    features: "TextFeatures",
    units: pd.DataFrame,
    wording: Sequence[str],
    captions: Int[Tensor, "caption"],
) -> None:
    """Teach fitted phrase units which relations are spatial, by logistic regression on their words' embeddings.

    `wording` holds the texts of `features`, `captions` the positions of those to learn from, `units` (UNITS) the
    parser's reading of them. Where all of their relations are spatial, or there is none, all count as spatial.
    """
    found = list(_relations(text, features, units, wording, captions[:CAPTIONS]))
    spatial = np.array([is_spatial(said) for said, _ in found], dtype=bool)
    if spatial.all():
        return
    text.spatial.zero_()
    text.spatial[-1] = -1.0
    if spatial.any():
        from sklearn.linear_model import LogisticRegression

        words = torch.stack([words for _, words in found]).double().numpy()
        fit = LogisticRegression(class_weight="balanced", max_iter=1000).fit(words, spatial)
        text.spatial.copy_(torch.from_numpy(np.concatenate([fit.coef_[0], fit.intercept_])))


def _relations(
    text: TextDisentangler,
    features: "TextFeatures",
    units: pd.DataFrame,
    wording: Sequence[str],
    captions: Int[Tensor, "caption"],
) -> Iterator[tuple[str, Float[Tensor, "width"]]]:
    """Each relation with both arguments: what it says, and the mean embedding of its words."""
    for start in range(0, len(features.ids), _BLOCK):
        stop = min(start + _BLOCK, len(features.ids))
        inside = captions[(captions >= start) & (captions < stop)]
        if not len(inside):
            continue
        states, mask, offsets = (part[inside - start] for part in features.block(start, stop))
        reading = text.read(states, mask)
        structure = align_units(units, [features.ids[row] for row in inside.tolist()], offsets, mask)
        phrases = text.phrases(reading, mask, structure)
        assert phrases.assign is not None and phrases.direction is not None
        words = phrases.assign @ reading.words
        for row, unit in phrases.direction.any(dim=-1).nonzero().tolist():
            tokens = phrases.assign[row, unit].nonzero().flatten()
            begin, end = int(offsets[row, tokens[0], 0]), int(offsets[row, tokens[-1], 1])
            yield wording[int(inside[row])][begin:end], words[row, unit]
