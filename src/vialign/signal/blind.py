"""The blind baseline: a classifier that reads captions and never sees an image.

Rule-made negatives differ from captions in more than their truth: shuffled words are no grammar, an exchanged relation
may be a rare one. A linear classifier on word n-grams, fitted on the training captions against their own negatives,
shows how much can be told from such traces alone (the hypothesis-only baseline of Gururangan et al. 2018,
arXiv:1803.02324; for minimal pairs of captions Hsieh et al. 2023, arXiv:2306.14610). Nothing is stored: fitting takes
seconds, so whoever needs the classifier fits it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.random import generator
from vialign.signal.pairs import source_caption
from vialign.tables.data import NEGATIVE_KINDS

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_CAPTIONS = 20_000
"""Captions it learns from at most: the number of different n-grams, and so the memory, grows with them."""
_REGULARISATION = 0.1
"""Inverse strength C. Of 0.001, 0.01, 0.1 and 1 the one that is best, or within a point of it, at telling the
selection captions of both Scenes and Flickr8k from their negatives."""
_WORD = r"\w+|[^\w\s]"
"""A word, or a mark of punctuation."""


@dataclass(frozen=True)
class BlindClassifier:
    """A fitted classifier of texts."""

    pipeline: "Pipeline"

    def scores(self, texts: Sequence[str]) -> Float[np.ndarray, "text"]:
        """Log-odds that each text is a caption and not a rule-made negative."""
        if not len(texts):
            return np.empty(0)
        return np.asarray(self.pipeline.decision_function(list(texts)), dtype=np.float64)


def fit_blind(texts: pd.DataFrame, seed: int) -> BlindClassifier | None:
    """Fit on captions against the negatives made from them; None where `texts` has no negatives.

    `texts` has the columns of `TEXTS`. Only captions that have a negative are used, so that both classes are about the
    same things; at most 20,000 of them, drawn by `seed`.
    """
    negatives = texts[texts["kind"].isin(NEGATIVE_KINDS)]
    if negatives.empty:
        return None
    source = source_caption(negatives["text_id"])
    captions = texts[(texts["kind"] == "caption") & texts["text_id"].isin(source)]
    drawn = captions["text_id"].iloc[generator(seed, "blind captions").permutation(len(captions))[:_CAPTIONS]]
    captions, negatives = captions[captions["text_id"].isin(drawn)], negatives[source.isin(drawn)]

    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        CountVectorizer(ngram_range=(1, 3), token_pattern=_WORD),
        LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000),
    )
    is_caption = np.repeat([True, False], [len(captions), len(negatives)])
    return BlindClassifier(pipeline.fit([*captions["text"], *negatives["text"]], is_caption))
