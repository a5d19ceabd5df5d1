"""Pairs and their signal: which images meet which texts, and one row of `SIGNAL_SCORES` for each, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.config.signal import SignalConfig
from vialign.disentangle.types import reordered
from vialign.errors import UserError
from vialign.progress import track_starts
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration, fit_calibration
from vialign.signal.score import COMBINED, consistency, local_similarity, match_entropy, relation_queries
from vialign.tables.signal import CONTROLS, SIGNAL_CONTROLS, SIGNAL_SCORES

if TYPE_CHECKING:
    from vialign.disentangle import Phrases, Prototypes

PAIR_COLUMNS = ["image_id", "text_id", "kind"]
SHUFFLED = CONTROLS[0]
"""The control in which every image has the prototypes of another."""


@dataclass(frozen=True)
class SplitFeatures:
    """Everything of one split that a signal is computed from."""

    image_ids: Sequence[str]
    image_pooled: Float[Tensor, "image dim"]
    """Global image embeddings, unit length."""
    prototypes: "Prototypes"
    """Of each image."""
    text_ids: Sequence[str]
    text_pooled: Float[Tensor, "text dim"]
    """Global caption embeddings, unit length."""
    phrases: "Phrases"
    """Of each text."""


def build_pairs(
    texts: pd.DataFrame, image_ids: Sequence[str], kinds: Sequence[str], count: int, seed: int
) -> pd.DataFrame:
    """Image-text pairs of the kind `aligned` and of each of `kinds`; columns image_id, text_id, kind.

    `texts` has the columns of `TEXTS`; only texts of the given images are used. Of each kind there are at most `count`
    pairs, drawn so that every image gives its first caption before any gives its second. `random`: a caption of
    another image, each caption once. A rule-made negative meets its own image, and the caption it was made from is
    among the aligned pairs too; so that rare kinds keep their pairs, there may be more than `count` aligned ones.
    Raises UserError when there are no captions, or none of another image to draw.
    """
    texts = texts[texts["image_id"].isin(set(image_ids))]
    captions = texts[texts["kind"] == "caption"]
    if captions.empty:
        raise UserError("signal pairs: none of the images has a caption; check captions.parquet and data.sizes")
    rng = generator(seed, "signal pairs")
    captions = captions.iloc[rng.permutation(len(captions))]
    order = captions.groupby("image_id", sort=False).cumcount()
    captions = captions.iloc[np.argsort(order.to_numpy(), kind="stable")]
    chosen = set(captions["text_id"].head(count))
    made = []
    for kind in kinds:
        if kind == "random":
            continue
        negatives = texts[texts["kind"] == kind].assign(source=lambda frame: source_caption(frame["text_id"]))
        found = captions[["text_id"]].merge(negatives, left_on="text_id", right_on="source", suffixes=("_caption", ""))
        made.append(found.head(count)[PAIR_COLUMNS])
        chosen.update(found["source"].head(count))
    if "random" in kinds:
        made.append(_random_pairs(captions.head(count)))
    aligned = captions[captions["text_id"].isin(chosen)].assign(kind="aligned")[PAIR_COLUMNS]
    return pd.concat([aligned, *made], ignore_index=True)


def source_caption(text_ids: pd.Series) -> pd.Series:
    """The caption that each rule-made negative `<caption_id>!<kind>` was made from."""
    return text_ids.str.rsplit("!", n=1).str[0]


def calibrate_signal(pairs: pd.DataFrame, features: SplitFeatures, config: SignalConfig, seed: int) -> pd.DataFrame:
    """Fit the maps of both similarities on aligned and random pairs; rows as `SIGNAL_CALIBRATION`."""
    return fit_calibration(_similarities(pairs, features, config, seed), config.folds)


def score_pairs(
    pairs: pd.DataFrame,
    features: SplitFeatures,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
) -> pd.DataFrame:
    """Every signal of every pair; one row a pair, columns as `SIGNAL_SCORES`.

    `pairs` has image_id, text_id and kind. Memory is that of the features plus one block of pairs. With
    `config.shuffle_prototypes` every image has the prototypes of another: the negative control.
    """
    frame = _similarities(pairs, features, config, seed)
    s_global, s_local = (torch.tensor(frame[name].to_numpy()) for name in ("s_global", "s_local"))
    derived = {name: value.numpy() for name, value in derived_signals(s_global, s_local, calibration).items()}
    return SIGNAL_SCORES.check(frame.assign(**derived, certainty=1.0 - frame["local_entropy"]))


def derived_signals(
    s_global: Float[Tensor, "*pair"], s_local: Float[Tensor, "*pair"], calibration: SignalCalibration
) -> dict[str, Float[Tensor, "*pair"]]:
    """Every signal that is a function of the two raw similarities, by its column of `SIGNAL_SCORES`; differentiable."""
    mapped_global, mapped_local = calibration.s_global.torch(s_global), calibration.s_local.torch(s_local)
    return {
        "s_global_calibrated": mapped_global,
        "s_local_calibrated": mapped_local,
        **{name: combine(mapped_global, mapped_local) for name, combine in COMBINED.items()},
        "consistency_raw": consistency(s_global, s_local),
        "s_sum": mapped_global + mapped_local,
    }


def with_control(features: SplitFeatures, config: SignalConfig, seed: int) -> SplitFeatures:
    """The features, or with `config.shuffle_prototypes` the same with the prototypes of other images.

    The exchange is one random cycle through all images, so no image keeps its own prototypes.
    """
    count = len(features.image_ids)
    if not config.shuffle_prototypes or count < 2:
        return features
    return replace(features, prototypes=reordered(features.prototypes, exchanged(count, seed)))


def exchanged(count: int, seed: int) -> Int[Tensor, "image"]:
    """For each of `count` images the one whose prototypes it gets: one random cycle, so none keeps its own."""
    order = generator(seed, "shuffled prototypes").permutation(count)
    donor = np.empty(count, dtype=np.int64)
    donor[order] = np.roll(order, 1)
    return torch.from_numpy(donor)


def score_control(
    name: str,
    pairs: pd.DataFrame,
    features: SplitFeatures,
    calibration_pairs: pd.DataFrame,
    calibration_features: SplitFeatures,
    config: SignalConfig,
    seed: int,
) -> pd.DataFrame:
    """Every signal of `pairs` with its local part replaced, rows as `SIGNAL_CONTROLS`.

    `name` is one of `CONTROLS`: of `shuffled prototypes` the exchange is made here, every other replacement is in the
    features already. As for the signal itself, both maps are fitted on the calibration split, here of the control.
    """
    config = config.model_copy(update={"shuffle_prototypes": name == SHUFFLED})
    maps = SignalCalibration.from_table(calibrate_signal(calibration_pairs, calibration_features, config, seed))
    scores = score_pairs(pairs, features, maps, config, seed)
    return SIGNAL_CONTROLS.check(scores.assign(control=name)[list(SIGNAL_CONTROLS.columns)])


def _similarities(pairs: pd.DataFrame, features: SplitFeatures, config: SignalConfig, seed: int) -> pd.DataFrame:
    """`pairs` with s_global, s_local (with geometry and plain) and local_entropy, float64."""
    features = with_control(features, config, seed)
    image_positions = positions(pairs["image_id"], features.image_ids, "image")
    text_positions = positions(pairs["text_id"], features.text_ids, "text")
    block = _pairs_in_a_block(features)
    parts = []
    with torch.no_grad():
        for start in track_starts(len(pairs), block, "signal of image-text pairs"):
            images, texts = image_positions[start : start + block], text_positions[start : start + block]
            prototypes, phrases = features.prototypes.index(images), features.phrases.index(texts)
            local = (prototypes.features, phrases.features, phrases.weight)
            parts.append(
                torch.stack(
                    [
                        (features.image_pooled[images] * features.text_pooled[texts]).sum(dim=-1),
                        local_similarity(*local, prototypes.mass, prototypes.moments, relation_queries(phrases)),
                        local_similarity(*local, prototypes.mass),
                        match_entropy(*local, config.temperature, prototypes.mass),
                    ],
                    dim=1,
                )
            )
    values = torch.cat(parts).cpu().double().numpy() if parts else np.empty((0, 4))
    columns = pd.DataFrame(values, columns=["s_global", "s_local", "s_local_plain", "local_entropy"], index=pairs.index)
    return pd.concat([pairs[PAIR_COLUMNS], columns], axis=1)


def _random_pairs(captions: pd.DataFrame) -> pd.DataFrame:
    """Each caption once, at an image that is not its own."""
    grouped = captions.assign(place=captions.groupby("image_id", sort=False).ngroup()).sort_values(
        "place", kind="stable"
    )
    longest = int(grouped["image_id"].value_counts().max())
    if len(grouped) < 2 * longest:
        raise UserError(
            f"signal pairs: {longest} of {len(grouped)} captions belong to one image, so they cannot all meet another; "
            "raise data.sizes.calibration and data.sizes.diagnosis"
        )
    # Captions lie in runs of one image, none longer than `longest`: a rotation by that much leaves every run.
    return pd.DataFrame(
        {
            "image_id": grouped["image_id"].to_numpy(),
            "text_id": np.roll(grouped["text_id"].to_numpy(), -longest),
            "kind": "random",
        }
    )


def positions(wanted: pd.Series, known: Sequence[str], what: str) -> Int[Tensor, "row"]:
    """Row of each wanted id among the known ones. Raises UserError naming the first that has no features."""
    found = pd.Index(known).get_indexer(pd.Index(wanted))
    if (found < 0).any():
        missing = wanted.iloc[int(np.flatnonzero(found < 0)[0])]
        raise UserError(f"signal pairs: {what} {missing!r} has no features; delete R/features and run again")
    return torch.from_numpy(found.astype(np.int64))


def _pairs_in_a_block(features: SplitFeatures, elements: int = 1 << 24) -> int:
    """Pairs whose gathered prototypes and phrases take at most `elements` numbers."""
    _, prototypes, dim = features.prototypes.features.shape
    return max(1, elements // ((prototypes + features.phrases.features.shape[1]) * dim))
