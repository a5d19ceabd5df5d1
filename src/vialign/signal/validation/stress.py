"""Phase 2: how the discrimination of the signal, and of S_global beside it, decays when the images are disturbed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vialign.config import SignalConfig
from vialign.progress import track
from vialign.random import derive_seed, generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.stage import SplitFeatures, score_pairs
from vialign.signal.validation.attacks import fgsm, pgd
from vialign.signal.validation.corruptions import CORRUPTIONS, corrupt
from vialign.signal.validation.diagnosis import HARD, contrast
from vialign.signal.validation.resampling import image_weights, interval
from vialign.tables import STRESS, STRESS_SUMMARY

if TYPE_CHECKING:
    from vialign.disentangle import Prototypes

ATTACKS = ("fgsm", "pgd")
"""Adversarial attacks by name, as they stand in `STRESS`."""
ImageEncoder = Callable[[Tensor], tuple[Tensor, "Prototypes"]]
"""Pixels in [0, 1] (image, 3, height, width) to unit global embeddings, differentiable, and prototypes."""


def image_encoder(
    tokens: Callable[[Tensor], tuple[Tensor, Tensor]], visual: Callable[[Tensor], "Prototypes"]
) -> ImageEncoder:
    """From pixels in [0, 1] to the image side of the signal.

    `tokens` gives unit global embeddings and patches of pixels in [0, 1], such as
    `lambda pixels: backbone.image_tokens(backbone.normalise(pixels), readout)`; `visual` is the disentangler.
    """

    def encode(pixels: Tensor) -> tuple[Tensor, "Prototypes"]:
        pooled, patches = tokens(pixels)
        return pooled, visual(patches)

    return encode


def stress_curves(
    pixels: UInt8[Tensor, "image channel height width"],
    pairs: pd.DataFrame,
    features: SplitFeatures,
    encode: ImageEncoder,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
    batch: int = 64,
) -> pd.DataFrame:
    """AUC of the driving signal and of S_global under every corruption and attack; rows as `STRESS`.

    `pixels` belong to `features.image_ids`, in their order; `pairs` (image_id, text_id, kind) are those of the
    diagnosis. `config.stress_images` of the images are drawn; only they are encoded again, and the texts stay as they
    are. Attacks are untargeted: they push each image away from its first aligned caption. Every curve starts with its
    clean value at strength 0. Intervals resample images, with the same resamples along a curve.
    """
    chosen = generator(seed, "stress images").permutation(len(features.image_ids))[: config.stress_images]
    positions = torch.from_numpy(chosen)
    ids = [features.image_ids[position] for position in chosen]
    kept = pairs[pairs["image_id"].isin(set(ids))]
    clean = pixels[positions]
    targets = _aligned_texts(ids, kept, features)
    results = []
    total = 1 + len(CORRUPTIONS) * len(config.severities) + len(ATTACKS) * len(config.epsilons)
    for attack, strength, disturbed in track(
        _disturbed(clean, targets, encode, config, seed, batch), "stress test", total
    ):
        side = _encode(disturbed, ids, features, encode, batch)
        scores = score_pairs(kept, side, calibration, config, seed)
        results += [{"attack": attack, "strength": strength, **row} for row in _discrimination(scores, config, seed)]
    frame = pd.DataFrame(results, columns=list(STRESS.columns))
    start = frame[frame["attack"] == "clean"]
    curves = [start.assign(attack=name) for name in (*CORRUPTIONS, *ATTACKS)]
    return STRESS.check(pd.concat([*curves, frame[frame["attack"] != "clean"]], ignore_index=True))


def robustness(stress: pd.DataFrame) -> pd.DataFrame:
    """Each curve as one number: its mean excess over chance, by area, relative to clean; rows as `STRESS_SUMMARY`.

    1 is no decay, 0 is chance. It is missing where the clean interval reaches down to chance: nothing is there that
    could decay, and a ratio to noise says nothing. Strengths are taken as equally spaced steps from clean to the
    strongest, by the trapezoid rule.
    """
    rows: list[dict[str, object]] = []
    for (attack, signal, kind), curve in stress.groupby(["attack", "signal", "kind"], sort=False):
        curve = curve.sort_values("strength")
        clean = float(curve["auc"].iloc[0])
        excess = curve["auc"].to_numpy() - 0.5
        area = float(np.mean((excess[1:] + excess[:-1]) / 2)) if len(excess) > 1 else clean - 0.5
        relative = area / (clean - 0.5) if curve["low"].iloc[0] > 0.5 else np.nan
        rows.append({"attack": attack, "signal": signal, "kind": kind, "relative_area": relative, "clean": clean})
    return STRESS_SUMMARY.check(pd.DataFrame(rows, columns=list(STRESS_SUMMARY.columns)))


def _disturbed(
    clean: UInt8[Tensor, "image channel height width"],
    targets: Float[Tensor, "image dim"],
    encode: ImageEncoder,
    config: SignalConfig,
    seed: int,
    batch: int,
) -> Iterator[tuple[str, float, Tensor]]:
    """Name, strength and pixels in [0, 1] of every version of the images; the clean one first."""
    original = clean.float() / 255
    yield "clean", 0.0, original
    for name in CORRUPTIONS:
        for severity in config.severities:
            yield name, float(severity), corrupt(clean, name, severity, seed).float() / 255

    def embed(pixels: Tensor) -> Tensor:
        return encode(pixels)[0]

    for epsilon in config.epsilons:
        limit = epsilon / 255
        parts = list(zip(original.split(batch), targets.split(batch), strict=True))
        yield "fgsm", epsilon, torch.cat([fgsm(embed, part, text, limit) for part, text in parts])
        strongest = [
            pgd(embed, part, text, limit, steps=config.attack_steps, seed=derive_seed(seed, "stress", number))
            for number, (part, text) in enumerate(parts)
        ]
        yield "pgd", epsilon, torch.cat(strongest)


def _aligned_texts(ids: list[str], pairs: pd.DataFrame, features: SplitFeatures) -> Float[Tensor, "image dim"]:
    """Global embedding of the first aligned caption of each image; zero, so no attack, where it has none."""
    first = pairs[pairs["kind"] == "aligned"].drop_duplicates("image_id").set_index("image_id")["text_id"]
    position = {text: place for place, text in enumerate(features.text_ids)}
    targets = torch.zeros(len(ids), features.text_pooled.shape[1])
    for row, image in enumerate(ids):
        if image in first.index:
            targets[row] = features.text_pooled[position[first.loc[image]]]
    return targets


@torch.no_grad()
def _encode(
    pixels: Float[Tensor, "image channel height width"],
    ids: list[str],
    features: SplitFeatures,
    encode: ImageEncoder,
    batch: int,
) -> SplitFeatures:
    """The features with the image side of the disturbed images."""
    pooled, prototypes = [], []
    for part in pixels.split(batch):
        embedding, found = encode(part)
        pooled.append(embedding)
        prototypes.append(found)
    return replace(
        features, image_ids=ids, image_pooled=torch.cat(pooled), prototypes=type(prototypes[0]).concatenate(prototypes)
    )


def _discrimination(scores: pd.DataFrame, config: SignalConfig, seed: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for kind in ("random", HARD):
        found = contrast(scores, kind)
        if found is None:
            continue
        weights = image_weights(found.images, config.bootstrap, generator(seed, "stress bootstrap", kind))
        for signal in (config.driver, "s_global"):
            low, high = interval(found.resampled_auc(signal, weights))
            rows.append(
                {
                    "signal": signal,
                    "kind": kind,
                    "auc": found.auc(signal),
                    "low": low,
                    "high": high,
                    "pairs": len(found.misaligned),
                }
            )
    return rows
