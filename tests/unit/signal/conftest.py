"""A small world in which it is known what the signal must see."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from vialign.config.signal import SignalConfig
from vialign.disentangle.types import Phrases, Prototypes
from vialign.signal.pairs import SplitFeatures


@dataclass(frozen=True)
class World:
    """Images with three of twelve concepts, captions that name them, negatives that name one wrong concept."""

    texts: pd.DataFrame
    features: SplitFeatures


def make_world(images: int = 60, captions: int = 2, seed: int = 0, signal: bool = True) -> World:
    """With `signal` false, features are noise that knows nothing of the pairs."""
    rng = np.random.default_rng(seed)
    concepts = rng.standard_normal((12, 16))
    shown = np.stack([rng.choice(12, 3, replace=False) for _ in range(images)])
    rows, named = [], []
    for image in range(images):
        for number in range(captions):
            caption = f"i{image}#{number}"
            wrong = shown[image].copy()
            wrong[0] = rng.choice(np.setdiff1d(np.arange(12), shown[image]))
            for kind, concept in (("caption", shown[image]), ("replace_relation", wrong), ("shuffle", shown[image])):
                name = caption if kind == "caption" else f"{caption}!{kind}"
                rows.append(
                    {"text_id": name, "split": "diagnosis", "image_id": f"i{image}", "kind": kind, "text": name}
                )
                named.append(concept)
    texts = pd.DataFrame(rows)
    named = np.stack(named)

    def noisy(values: np.ndarray) -> torch.Tensor:
        values = values if signal else np.zeros_like(values)
        return F.normalize(torch.from_numpy(values + 0.4 * rng.standard_normal(values.shape)).float(), dim=-1)

    prototypes = Prototypes(
        features=noisy(concepts[shown]),
        mass=torch.full((images, 3), 1 / 3),
        maps=None,
        moments=torch.zeros(images, 3, 5),
    )
    units = torch.zeros(len(texts), 3, dtype=torch.long)
    phrases = Phrases(
        features=noisy(concepts[named]),
        weight=torch.full((len(texts), 3), 1 / 3),
        kind=units + 1,
        subject=units - 1,
        object=units - 1,
        assign=None,
    )
    features = SplitFeatures(
        image_ids=[f"i{image}" for image in range(images)],
        image_pooled=noisy(concepts[shown].sum(axis=1)),
        prototypes=prototypes,
        text_ids=list(texts["text_id"]),
        text_pooled=noisy(concepts[named].sum(axis=1)),
        phrases=phrases,
    )
    return World(texts, features)


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def small_config() -> SignalConfig:
    return SignalConfig(pairs=100, permutations=999, bootstrap=200, folds=3, stress_images=12, severities=(1, 5))
