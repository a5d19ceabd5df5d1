"""Phase 2: how the discrimination of the signal, and of S_global beside it, decays when images are disturbed.

Attacks are adaptive: every signal that is followed is attacked by its own gradient, so that none looks robust because
the attack aimed at another.

Disturbed texts are in `text_stress`, curves and their summary in `decay`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vialign.config.signal import SignalConfig
from vialign.device import CPU, to_device
from vialign.features.pixels import PixelFiles
from vialign.random import generator
from vialign.signal.calibration import SignalCalibration
from vialign.signal.pairs import SplitFeatures, build_pairs, positions, score_pairs
from vialign.signal.validation.attacks import direction, pgd, step
from vialign.signal.validation.corruptions import CORRUPTIONS, corrupt
from vialign.signal.validation.decay import CLEAN, Stressed, stress_points, stress_summary, stress_table
from vialign.signal.validation.targets import harm, stressed_signals
from vialign.signal.validation.text_stress import TextSide, disturbed_texts
from vialign.tables.data import NEGATIVE_KINDS

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.disentangle import Prototypes, VisualDisentangler

ATTACKS = ("fgsm", "pgd", "fgsm targeted", "pgd targeted")
"""Adversarial attacks on images by name, as they stand in `STRESS`."""
DOMAIN = "other domain"
"""Name of the change of domain in `STRESS`."""
_BATCH = 64

Disturbance = Callable[[], Iterable[Stressed]]
"""Makes the scores under one disturbance, or under several that share their work."""


@dataclass(frozen=True)
class ImageSide:
    """All that turns pixels in [0, 1] (image, 3, height, width) into the image side of the signal."""

    pooled: Callable[[Tensor], Tensor]
    """Unit global embeddings, differentiable: what an attack on the global similarity sees."""
    encode: Callable[[Tensor], tuple[Tensor, "Prototypes"]]
    """Unit global embeddings and prototypes, differentiable in all but the choice of prototypes."""


def image_side(backbone: "Backbone", visual: "VisualDisentangler", readout: str) -> ImageSide:
    """The image side of a backbone with a disentangler that was fitted on its patch readout.

    Pixels may be anywhere; what it gives is where the disentangler is.
    """
    here = visual.mean.device

    def normalised(pixels: Tensor) -> Tensor:
        return backbone.normalise(to_device(pixels, backbone.device))

    def encode(pixels: Tensor) -> tuple[Tensor, "Prototypes"]:
        pooled, patches = backbone.image_tokens(normalised(pixels), readout)
        return pooled.to(here), replace(visual(patches.to(here)), maps=None)

    return ImageSide(lambda pixels: backbone.encode_image(normalised(pixels)).to(here), encode)


@dataclass(frozen=True)
class StressSample:
    """The images that the stress test looks at, and their pairs."""

    pixels: Float[Tensor, "image channel height width"]
    """In [0, 1], on the CPU."""
    pairs: pd.DataFrame
    """image_id, text_id and kind."""
    features: SplitFeatures
    """Images as their pixels are encoded now, texts as stored."""


def stress_sample(
    pixels: UInt8[Tensor, "image channel height width"] | PixelFiles,
    pairs: pd.DataFrame,
    features: SplitFeatures,
    side: ImageSide,
    config: SignalConfig,
    seed: int,
) -> StressSample:
    """`config.stress_images` images, drawn; `pixels` belong to `features.image_ids`, in their order, and only those of
    the drawn images are read.
    """
    chosen = generator(seed, "stress images").permutation(len(features.image_ids))[: config.stress_images]
    ids = [features.image_ids[position] for position in chosen]
    clean = pixels[torch.from_numpy(chosen)].float() / 255
    kept = pairs[pairs["image_id"].isin(set(ids))].reset_index(drop=True)
    return StressSample(clean, kept, _encoded(clean, ids, features, side))


def stress_test(
    sample: StressSample,
    texts: pd.DataFrame,
    images: ImageSide,
    language: TextSide,
    elsewhere: Disturbance | None,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every disturbance of the sample: rows as `STRESS` and as `STRESS_SUMMARY`; arguments as `disturbances`."""
    made = disturbances(sample, texts, images, language, elsewhere, calibration, config, seed)
    total = (
        1
        + (elsewhere is not None)
        + len(CORRUPTIONS) * len(config.severities)
        + len(ATTACKS) * len(config.epsilons) * len(stressed_signals(config))
        + len(config.stress_typos)
        + len(config.stress_word_order)
        + config.stress_substitutions
    )
    points = stress_points(chain.from_iterable(make() for make in made), config, seed, total)
    return stress_table(points), stress_summary(points)


def disturbances(
    sample: StressSample,
    texts: pd.DataFrame,
    images: ImageSide,
    language: TextSide,
    elsewhere: Disturbance | None,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
) -> list[Disturbance]:
    """What makes the scores of the sample's pairs as they are, then under every disturbance; each needs no other.

    `texts` has the TEXTS of the sample's split; `elsewhere` makes what `other_domain` gives, None where the data set
    has no such split. What is drawn at random depends on `seed` alone.
    """

    def clean() -> Iterator[Stressed]:
        yield Stressed(CLEAN, 0.0, score_pairs(sample.pairs, sample.features, calibration, config, seed))

    return [
        clean,
        *_image_disturbances(sample, images, calibration, config, seed),
        partial(disturbed_texts, texts, sample.pairs, sample.features, language, calibration, config, seed),
        *([] if elsewhere is None else [elsewhere]),
    ]


def disturbed_images(
    sample: StressSample, side: ImageSide, calibration: SignalCalibration, config: SignalConfig, seed: int
) -> Iterator[Stressed]:
    """Scores of the pairs under every corruption and under every attack on the images.

    Every signal of `stressed_signals` is attacked by its own gradient. Untargeted attacks lower it for each image with
    its first aligned caption, targeted ones raise it with the image's first random caption (its first wrong one, where
    it has no random one).
    """
    return chain.from_iterable(make() for make in _image_disturbances(sample, side, calibration, config, seed))


def _image_disturbances(
    sample: StressSample, side: ImageSide, calibration: SignalCalibration, config: SignalConfig, seed: int
) -> list[Disturbance]:
    """What makes the parts of `disturbed_images`: a corruption at a severity, or all attacks of a kind on a signal."""

    def scored(pixels: Tensor) -> pd.DataFrame:
        features = _encoded(pixels, sample.features.image_ids, sample.features, side)
        return score_pairs(sample.pairs, features, calibration, config, seed)

    images = (sample.pixels * 255).round().to(torch.uint8)

    def corrupted(name: str, severity: int) -> Iterator[Stressed]:
        pixels = corrupt(images, name, severity, seed).float() / 255
        yield Stressed(name, float(severity), scored(pixels), "severity")

    def attacked(signal: str, targeted: bool) -> Iterator[Stressed]:
        found = attacked_images(sample, side, calibration, config, seed, signal, targeted=targeted)
        for (attack, epsilon), pixels in found.items():
            yield Stressed(attack, epsilon, scored(pixels), "epsilon in 1/255", target=signal)

    return [
        *(partial(corrupted, name, severity) for name in CORRUPTIONS for severity in config.severities),
        *(partial(attacked, signal, targeted) for targeted in (False, True) for signal in stressed_signals(config)),
    ]


def attacked_images(
    sample: StressSample,
    side: ImageSide,
    calibration: SignalCalibration,
    config: SignalConfig,
    seed: int,
    signal: str,
    *,
    targeted: bool,
) -> dict[tuple[str, float], Float[Tensor, "image channel height width"]]:
    """The images under FGSM and PGD on one signal, by attack and epsilon in 1/255, in batches.

    Images without a text of the kind that the attack needs stay as they are.
    """
    places, texts = _aims(sample, targeted)
    suffix, sizes = " targeted" if targeted else "", {epsilon / 255: epsilon for epsilon in config.epsilons}
    made = {
        (f"{name}{suffix}", epsilon): sample.pixels.clone() for name in ("fgsm", "pgd") for epsilon in config.epsilons
    }
    for place, text in zip(places.split(_BATCH), texts.split(_BATCH), strict=True):
        stated = sample.features.text_pooled[text], sample.features.phrases.index(text)
        gain = harm(side.pooled, side.encode, *stated, calibration, signal, targeted=targeted)
        pixels = to_device(sample.pixels[place], sample.features.image_pooled.device)
        towards = direction(gain, pixels)
        for size, epsilon in sizes.items():
            made[f"fgsm{suffix}", epsilon][place] = step(pixels, towards, size).to(CPU)
        runs = dict(steps=config.attack_steps, restarts=config.attack_restarts, seed=seed)
        # From where FGSM leads in the smallest ball: a gradient that is known already.
        for size, found in pgd(gain, pixels, list(sizes), **runs, start=step(pixels, towards, min(sizes))):
            made[f"pgd{suffix}", sizes[size]][place] = found.to(CPU)
    return made


def other_domain(
    texts: pd.DataFrame, features: SplitFeatures, calibration: SignalCalibration, config: SignalConfig, seed: int
) -> Stressed:
    """Scores of the pairs of a split of another domain, made as those of the diagnosis; `texts` has its TEXTS."""
    pairs = build_pairs(texts, features.image_ids, ["random", *NEGATIVE_KINDS], config.pairs, seed)
    return Stressed(DOMAIN, 1.0, score_pairs(pairs, features, calibration, config, seed), "domain", DOMAIN)


def _aims(sample: StressSample, targeted: bool) -> tuple[Int[Tensor, "attacked"], Int[Tensor, "attacked"]]:
    """Places of the images that can be attacked, and of the text that each is pushed away from or towards."""
    kind = sample.pairs["kind"]
    suited = sample.pairs[(kind == "aligned") != targeted]
    preferred = suited.assign(later=suited["kind"] != "random").sort_values("later", kind="stable")
    chosen = preferred.drop_duplicates("image_id")
    texts = positions(chosen["text_id"], sample.features.text_ids, "text")
    return positions(chosen["image_id"], sample.features.image_ids, "image"), texts


@torch.no_grad()
def _encoded(
    pixels: Float[Tensor, "image channel height width"], ids: Sequence[str], features: SplitFeatures, side: ImageSide
) -> SplitFeatures:
    """The features with `pixels` as their images."""
    parts = [side.encode(part) for part in pixels.split(_BATCH)]
    prototypes = type(parts[0][1]).concatenate([found for _, found in parts])
    return replace(
        features, image_ids=ids, image_pooled=torch.cat([pooled for pooled, _ in parts]), prototypes=prototypes
    )
