"""Reference signals: what published token-wise and word-wise scores see in the same frozen features.

`s_token` is the token-wise maximum of FILIP (Yao et al. 2021, arXiv:2111.07783, its text-to-image half) and `s_words`
the word-wise mean of F-CLIPScore (Oh and Hwang 2025, arXiv:2502.20034). Neither has prototypes, phrases, calibration
or anything else that is learned here, so what the consistency score adds can be seen beside them. Both are means of
raw cosines, as in the papers: nothing is centred, rescaled or cut at zero.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.errors import UserError
from vialign.features import ImageFeatures, TextFeatures
from vialign.progress import track_starts
from vialign.signal.blind import BlindClassifier
from vialign.signal.pairs import PAIR_COLUMNS, positions
from vialign.tables.signal import REFERENCE_SIGNALS, REFERENCES

if TYPE_CHECKING:
    from vialign.backbone import Backbone

WordEncoder = Callable[[Sequence[str]], Float[Tensor, "word dim"]]
"""Unit embeddings of words by the frozen text tower."""

_TEXTS = 128
"""Texts of a block of token states."""
_ELEMENTS = 1 << 24
"""Numbers of the largest tensor held at once, beside the pooled embeddings."""


def token_similarity(
    patches: Float[Tensor, "batch patch dim"],
    states: Float[Tensor, "batch token dim"],
    mask: Bool[Tensor, "batch token"],
) -> Float[Tensor, "batch"]:
    """Mean over a caption's tokens of the largest cosine with one of the image's patches; in [-1, 1].

    `states` are the tokens' states in the joint space; `mask` is true on real tokens, of which every caption has one.
    Lengths do not matter. Late interaction of FILIP, text to image; FILIP trains its towers for it, a frozen CLIP has
    never seen it.
    """
    cosines = einsum(F.normalize(states, dim=-1), F.normalize(patches, dim=-1), "b l d, b n d -> b l n")
    best = cosines.amax(dim=-1).masked_fill(~mask, 0.0)
    return best.sum(dim=-1) / mask.sum(dim=-1)


def word_similarity(
    image: Float[Tensor, "batch dim"],
    text: Float[Tensor, "batch dim"],
    words: Float[Tensor, "batch word dim"],
    mask: Bool[Tensor, "batch word"],
) -> Float[Tensor, "batch"]:
    """Mean cosine of the image with its whole caption and with each of the caption's words alone; in [-1, 1].

    All vectors are global embeddings of unit length; `mask` is true where there is a word. Without words it is the
    cosine of the caption. F-CLIPScore of nouns n_1..n_N: (s(caption) + sum_i s(n_i)) / (N + 1).
    """
    of_words = einsum(image, words, "b d, b w d -> b w").masked_fill(~mask, 0.0)
    return ((image * text).sum(dim=-1) + of_words.sum(dim=-1)) / (1 + mask.sum(dim=-1))


def token_scores(pairs: pd.DataFrame, images: ImageFeatures, texts: TextFeatures) -> Float[np.ndarray, "pair"]:
    """`token_similarity` of every pair (image_id, text_id); float64.

    The first numbers of a stored token state are its state in the joint space; the tower's own token embedding behind
    them is not used. Images are taken a block at a time and met with the texts a block at a time, so memory does not
    grow with the split. Raises UserError when an image or text has no features.
    """
    image_rows = positions(pairs["image_id"], images.ids, "image").numpy()
    text_rows = positions(pairs["text_id"], texts.ids, "text").numpy()
    dimension = images.pooled.shape[1]
    rows, columns = images.grid
    patch_numbers = rows * columns * dimension
    scores = np.empty(len(pairs))
    wanted = np.unique(image_rows)
    most = max(1, _ELEMENTS // patch_numbers)
    for first in range(0, len(wanted), most):
        known = wanted[first : first + most]
        patches, inside = images.rows("patches")[torch.from_numpy(known)].float(), np.isin(image_rows, known)
        for start in track_starts(len(texts), _TEXTS, "token-wise similarity"):
            stop = min(start + _TEXTS, len(texts))
            here = np.flatnonzero(inside & (text_rows >= start) & (text_rows < stop))
            if not len(here):
                continue
            states, mask, _ = texts.block(start, stop)
            step = max(1, _ELEMENTS // (patch_numbers + states.shape[1] * dimension))
            for part in np.split(here, range(step, len(here), step)):
                of_text = torch.from_numpy(text_rows[part] - start)
                of_image = torch.from_numpy(np.searchsorted(known, image_rows[part]))
                similarity = token_similarity(patches[of_image], states[of_text, :, :dimension], mask[of_text])
                scores[part] = similarity.double().numpy()
    return scores


def word_scores(
    pairs: pd.DataFrame,
    images: ImageFeatures,
    texts: TextFeatures,
    sentences: pd.DataFrame,
    units: pd.DataFrame,
    encode: WordEncoder,
) -> Float[np.ndarray, "pair"]:
    """`word_similarity` of every pair (image_id, text_id) with the nouns of `nouns_of`; float64.

    Every noun is encoded once, however often it stands. `sentences` and `units` have the columns of `TEXTS` and
    `UNITS`. Raises UserError when an image or text has no features.
    """
    image_rows = positions(pairs["image_id"], images.ids, "image")
    text_rows = positions(pairs["text_id"], texts.ids, "text")
    nouns = nouns_of(sentences[sentences["text_id"].isin(pairs["text_id"])], units)
    vocabulary, place = _word_places(nouns, texts.ids)
    embeddings = encode(vocabulary) if vocabulary else torch.zeros(1, images.pooled.shape[1])
    step = max(1, _ELEMENTS // ((place.shape[1] + 2) * embeddings.shape[1]))
    parts = []
    for start in range(0, len(pairs), step):
        image, text = image_rows[start : start + step], text_rows[start : start + step]
        words = place[text]
        vectors = images.pooled[image], texts.pooled[text], embeddings[words.clamp_min(0)]
        parts.append(word_similarity(*vectors, words >= 0).double())
    return torch.cat(parts).numpy() if parts else np.empty(0)


def nouns_of(sentences: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The head noun of every entity of `sentences`, in order: columns text_id and noun.

    F-CLIPScore counts nouns; attributes and relations are no words of it. A text in which the parser finds nothing is
    one entity as a whole, and so its own noun.
    """
    entities = units[units["kind"] == "entity"].merge(sentences[["text_id", "text"]], on="text_id")
    spans = zip(entities["text"], entities["head_start"], entities["head_end"], strict=True)
    return entities[["text_id"]].assign(noun=[text[start:end] for text, start, end in spans])


@torch.no_grad()
def encode_words(backbone: "Backbone", words: Sequence[str], batch: int = 256) -> Float[Tensor, "word dim"]:
    """Unit embeddings of words, each as a text of its own, in batches."""
    starts = track_starts(len(words), batch, "words of the captions")
    parts = [backbone.encode_text(backbone.tokenize(words[start : start + batch]).ids) for start in starts]
    return torch.cat(parts).cpu().float()


def score_references(
    pairs: pd.DataFrame,
    images: ImageFeatures,
    texts: TextFeatures,
    sentences: pd.DataFrame,
    units: pd.DataFrame,
    encode: WordEncoder,
    blind: BlindClassifier | None = None,
) -> pd.DataFrame:
    """Every reference signal of every pair (image_id, text_id, kind); rows as `REFERENCES`.

    `sentences` and `units` have the columns of `TEXTS` and `UNITS`. Without a `blind` classifier that column is empty.
    """
    of_text = sentences.set_index("text_id")["text"]
    frame = pairs[PAIR_COLUMNS].assign(
        s_token=token_scores(pairs, images, texts),
        s_words=word_scores(pairs, images, texts, sentences, units, encode),
        blind=np.nan if blind is None else blind.scores(of_text.loc[pairs["text_id"]].tolist()),
    )
    return REFERENCES.check(frame)


def with_references(scores: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """`scores` (rows of `SIGNAL_SCORES`) with the reference signals of the same pairs as further columns.

    A signal that was not available (no negatives to learn from) is left out. Raises UserError when a pair has no
    reference: the two tables were made for other pairs.
    """
    merged = scores.merge(references, on=PAIR_COLUMNS, how="left", validate="one_to_one", indicator=True)
    lost = merged["_merge"] != "both"
    if lost.any():
        row = merged[lost].iloc[0]
        raise UserError(
            f"signal/references.parquet: no row for image {row['image_id']!r} and text {row['text_id']!r}, which "
            "signal/scores.parquet has; delete it and run again"
        )
    empty = [name for name in REFERENCE_SIGNALS if merged[name].isna().all()]
    return merged.drop(columns=["_merge", *empty])


def _word_places(nouns: pd.DataFrame, text_ids: Sequence[str]) -> tuple[list[str], Int[Tensor, "text word"]]:
    """The different nouns, and for each text the places of its nouns among them; -1 where it has no more."""
    codes, known = pd.factorize(nouns["noun"], sort=True)
    rows = pd.Index(text_ids).get_indexer(pd.Index(nouns["text_id"]))
    column = nouns.groupby("text_id", sort=False).cumcount().to_numpy()
    places = np.full((len(text_ids), int(column.max(initial=-1)) + 1), -1, dtype=np.int64)
    places[rows, column] = codes
    return list(known), torch.from_numpy(places)
