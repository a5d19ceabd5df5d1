"""A planted world for tests of training: two objects an image, and a caption that says how they lie to each other.

Global embeddings know which classes are there and nothing of their places; prototypes have the class vector and exact
moments; phrases are class and relation vectors. So role swaps can be told apart only through the prototypes.
"""

import numpy as np
import pandas as pd
import torch

from vialign.disentangle.types import ATTRIBUTE, ENTITY, RELATION, Phrases, Prototypes
from vialign.methods.objective import SplitData, assemble
from vialign.signal.calibration import LogisticCalibration, SignalCalibration

CLASSES = 12
RELATIONS = {"above": (1, -1), "below": (1, 1), "left of": (0, -1), "right of": (0, 1)}
CONVERSE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
CALIBRATION = SignalCalibration(LogisticCalibration(8.0, -3.0), LogisticCalibration(8.0, -4.0))


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


class Vocabulary:
    """The vectors of the world, shared by its splits."""

    def __init__(self, dimension: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dimension = dimension
        self.classes = unit(rng.normal(size=(CLASSES, dimension)))
        self.relations = dict(zip(RELATIONS, unit(rng.normal(size=(len(RELATIONS), dimension))), strict=True))
        self.cone = unit(rng.normal(size=(2, dimension)))


def planted_world(
    vocabulary: Vocabulary,
    images: int,
    seed: int,
    *,
    prototypes: int = 4,
    noise: float = 0.1,
    geometry: bool = True,
) -> SplitData:
    """A split. Without `geometry`, moments are shuffled among images: the control in which nothing can be learned."""
    rng = np.random.default_rng(seed)
    dimension, slots = vocabulary.dimension, 4
    features = rng.normal(size=(images, prototypes, dimension))
    moments = np.full((images, prototypes, 5), 0.5)
    pooled, rows, text_pooled, phrases, weights, kinds, subjects, objects = [], [], [], [], [], [], [], []

    def say(image, kind, name, first, relation, second):
        rows.append({"text_id": name, "split": "train", "image_id": f"i{image}", "kind": kind, "text": name})
        vectors = [vocabulary.classes[first], vocabulary.relations[relation], vocabulary.classes[second]]
        content = vocabulary.cone[1] + vectors[0] + vectors[2] + 0.2 * vectors[1]
        text_pooled.append(unit(content + noise * rng.normal(size=dimension) / dimension**0.5))
        jitter = noise * rng.normal(size=(3, dimension)) / dimension**0.5
        phrases.append(np.vstack([unit(np.array(vectors) + jitter), np.zeros((slots - 3, dimension))]))
        weights.append([1 / 3] * 3 + [0.0] * (slots - 3))
        kinds.append([ENTITY, RELATION, ENTITY] + [0] * (slots - 3))
        subjects.append([-1, 0, -1] + [-1] * (slots - 3))
        objects.append([-1, 2, -1] + [-1] * (slots - 3))

    for image in range(images):
        first, second = rng.choice(CLASSES, size=2, replace=False)
        relation = list(RELATIONS)[rng.integers(len(RELATIONS))]
        axis, sign = RELATIONS[relation]
        centre = rng.uniform(0.4, 0.6, size=2)
        offset = rng.normal(size=2) * 0.03
        offset[axis] = sign * rng.uniform(0.1, 0.3)
        order = rng.permutation(prototypes)
        for slot, concept, place in ((order[0], first, centre + offset), (order[1], second, centre - offset)):
            features[image, slot] = vocabulary.classes[concept] + 0.3 * rng.normal(size=dimension) / dimension**0.5
            moments[image, slot] = [*place, 0.1, 0.1, 0.05]
        content = vocabulary.cone[0] + vocabulary.classes[first] + vocabulary.classes[second]
        pooled.append(unit(content + 0.3 * rng.normal(size=dimension) / dimension**0.5))
        for number, (a, r, b) in enumerate(((first, relation, second), (second, CONVERSE[relation], first))):
            name = f"i{image}#{number}"
            say(image, "caption", name, a, r, b)
            say(image, "swap_roles", f"{name}!swap_roles", b, r, a)
            say(image, "replace_relation", f"{name}!replace_relation", a, CONVERSE[r], b)
    if not geometry:
        moments = moments[rng.permutation(images)]
    tensor = lambda values: torch.tensor(np.array(values), dtype=torch.float32)  # noqa: E731
    frame = pd.DataFrame(rows)
    return assemble(
        frame,
        [f"i{image}" for image in range(images)],
        list(frame["text_id"]),
        tensor(pooled),
        tensor(text_pooled),
        Prototypes(
            features=tensor(unit(features)),
            mass=torch.full((images, prototypes), 1 / prototypes),
            maps=None,
            moments=tensor(moments),
        ),
        Phrases(
            features=tensor(phrases),
            weight=tensor(weights),
            kind=torch.tensor(kinds),
            subject=torch.tensor(subjects),
            object=torch.tensor(objects),
            assign=None,
            direction=asked(tensor(phrases), torch.tensor(subjects), torch.tensor(objects)),
        ),
    )


def asked(features: torch.Tensor, subject: torch.Tensor, object_: torch.Tensor) -> torch.Tensor:
    """A direction for every relation, a fixed function of its phrase: it says nothing that the phrase does not say."""
    fixed = torch.randn(features.shape[-1], 8, generator=torch.Generator().manual_seed(0), dtype=features.dtype)
    related = (subject >= 0) & (object_ >= 0)
    return torch.nn.functional.normalize(features @ fixed, dim=-1) * related[..., None]


def random_world(seed: int, images: int = 5, texts: int = 7, prototypes: int = 4, units: int = 5, dimension: int = 12):
    """Random prototypes and phrases with padding, all kinds of units and missing arguments; float64."""
    rng = np.random.default_rng(seed)
    mass = rng.uniform(0.1, 1, size=(images, prototypes))
    mass[rng.random(mass.shape) < 0.2] = 0
    mass[:, 0] += 0.5
    moments = rng.uniform(0, 1, size=(images, prototypes, 5))
    present = rng.random((texts, units)) < 0.8
    present[:, 0] = True
    weight = rng.uniform(0.1, 1, size=(texts, units)) * present
    kind = rng.integers(ENTITY, RELATION + 1, size=(texts, units)) * present
    arguments = rng.integers(-1, units, size=(2, texts, units))
    subject = np.where(kind >= ATTRIBUTE, arguments[0], -1)
    object_ = np.where(kind == RELATION, arguments[1], -1)
    features = unit(rng.normal(size=(texts, units, dimension))) * present[..., None]
    return (
        Prototypes(
            features=torch.tensor(unit(rng.normal(size=(images, prototypes, dimension)))),
            mass=torch.tensor(mass / mass.sum(axis=1, keepdims=True)),
            maps=None,
            moments=torch.tensor(moments),
        ),
        Phrases(
            features=torch.tensor(features),
            weight=torch.tensor(weight / weight.sum(axis=1, keepdims=True)),
            kind=torch.tensor(kind),
            subject=torch.tensor(subject),
            object=torch.tensor(object_),
            assign=None,
        ),
        torch.tensor(unit(rng.normal(size=(images, dimension)))),
        torch.tensor(unit(rng.normal(size=(texts, dimension)))),
    )
