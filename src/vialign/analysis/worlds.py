"""Worlds in which the mutual information between image and caption is known, for the theory note (docs/theory.md).

A world says what an image shows and what its caption tells, and draws the features that the signal reads: a global
embedding of each side, prototypes and phrases. Mutual information is that of content and caption, in nats. Features
are made from them and from noise, so no similarity can know more of it (the data processing inequality).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vialign.disentangle import Phrases, Prototypes
from vialign.disentangle.geometry import GEOMETRY, relative_geometry
from vialign.disentangle.types import ENTITY, NONE, RELATION


class Sample(NamedTuple):
    """Independent pairs of a world: image i goes with caption i. Everything is double precision."""

    image: Float[Tensor, "pair dim"]
    """Global embeddings, unit length."""
    text: Float[Tensor, "pair dim"]
    """Global embeddings, unit length."""
    prototypes: Prototypes
    phrases: Phrases
    log_ratio: Float[Tensor, "pair pair"]
    """log p(x, y) / (p(x) p(y)) of image i and caption j, nats: the critic that no other beats."""
    exchanged: Phrases | None = None
    """Phrases of the same captions with the two objects of their relation exchanged, where there is a relation."""


def gaussian_information(correlation: float, dimensions: int) -> float:
    """Mutual information of two standard Gaussian vectors whose coordinates correlate one by one, nats.

    -1/2 log(1 - correlation^2) a coordinate (Cover and Thomas 2006, example 8.5.1); infinite at correlation 1.
    """
    return math.inf if abs(correlation) == 1 else -0.5 * dimensions * math.log1p(-(correlation**2))


def gaussian_correlation(information: float, dimensions: int) -> float:
    """The correlation, not negative, at which `gaussian_information` is `information` nats."""
    return math.sqrt(-math.expm1(-2 * information / dimensions))


def symmetric_channel(symbols: int, error: float) -> Float[np.ndarray, "sent received"]:
    """p(received | sent): right with probability 1 - error, else one of the other symbols, all alike."""
    channel = np.full((symbols, symbols), error / (symbols - 1))
    np.fill_diagonal(channel, 1 - error)
    return channel


def channel_information(channel: Float[np.ndarray, "sent received"]) -> float:
    """Mutual information between a uniform symbol and what the channel makes of it, nats, by enumeration."""
    joint = channel / len(channel)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    possible = joint > 0
    return float((joint[possible] * np.log(joint[possible] / independent[possible])).sum())


@dataclass(frozen=True)
class GaussianParts:
    """An image of independent Gaussian parts, each told by one phrase; the parameter is their correlation.

    Parts are prototypes, and their sum is the global embedding. By the chain rule every part adds its own information;
    the sum keeps that of a single part.
    """

    name: str = "gaussian"
    noise: float = 0.0
    """Size of what is seen of an image beside its content: a component that all captions have and that images have by
    chance, so that some images resemble any caption. It tells nothing of the caption."""
    common: bool = True
    """Whether global embedding and prototypes have that component by the same chance, or each by its own."""
    parts: int = 4
    dimensions: int = 16
    """Of a part."""
    information: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0)
    """Of the grid, nats."""

    @property
    def grid(self) -> tuple[float, ...]:
        """Correlations that give `information`."""
        return tuple(gaussian_correlation(value, self.parts * self.dimensions) for value in self.information)

    def mutual_information(self, parameter: float) -> float:
        """Of all parts, which are independent: the sum over them."""
        return self.parts * gaussian_information(parameter, self.dimensions)

    def draw(self, parameter: float, pairs: int, rng: np.random.Generator) -> Sample:
        """Independent pairs; the correlation must be below 1."""
        seen, noise = torch.from_numpy(rng.normal(size=(2, pairs, self.parts, self.dimensions)))
        told = parameter * seen + math.sqrt(1 - parameter**2) * noise
        chance, other = torch.from_numpy(rng.normal(size=(2, pairs)))

        def embed(vectors: Tensor, share: Tensor) -> Tensor:
            extra = self.noise * math.sqrt(self.dimensions) * share
            return F.normalize(torch.cat([vectors, extra[:, None, None].expand(*vectors.shape[:2], 1)], dim=-1), dim=-1)

        def pooled(vectors: Tensor) -> Tensor:
            return vectors.sum(dim=1, keepdim=True) / math.sqrt(self.parts)

        always = torch.ones_like(chance)
        kind = torch.full((pairs, self.parts), ENTITY)
        return Sample(
            embed(pooled(seen), chance)[:, 0],
            embed(pooled(told), always)[:, 0],
            _prototypes(
                embed(seen, chance if self.common else other),
                torch.full((pairs, self.parts, 5), 0.5, dtype=torch.float64),
            ),
            _phrases(embed(told, always), kind),
            gaussian_log_ratio(seen.flatten(1), told.flatten(1), parameter),
        )


def gaussian_log_ratio(
    image: Float[Tensor, "image dim"], text: Float[Tensor, "text dim"], correlation: float
) -> Float[Tensor, "image text"]:
    """log p(y | x) / p(y) of all pairs of standard Gaussian vectors whose coordinates correlate one by one, nats."""
    left = 1 - correlation**2
    distance = torch.cdist(correlation * image, text).square()
    return 0.5 * (text.square().sum(dim=1) - distance / left) - 0.5 * image.shape[1] * math.log(left)


PLACES = ((0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0))
"""Where a subject lies as seen from its object: above, below, left, right; each beside its reverse."""


@dataclass(frozen=True)
class Scenes:
    """Two objects and where one lies as seen from the other, told by a caption that gets each of the three wrong at
    times; the parameter is the error of the relation.

    A symbol is told through a symmetric channel, so mutual information follows by enumeration. Global embeddings hold
    which objects there are and nothing of the relation; prototypes also hold where the objects lie.
    """

    name: str = "combination"
    reads_relations: bool = True
    """Whether phrases ask for the relation. Without it both views are blind to what the parameter changes."""
    objects: int = 12
    """Kinds of the subject, and as many others of the object."""
    object_error: float = 0.02
    errors: tuple[float, ...] = (0.75, 0.6, 0.45, 0.3, 0.15, 0.0)
    """Of the grid; 0.75 is a guess among four."""
    noise: float = 0.6
    """Length of the noise on the unit vector of an object, in image and caption alike."""
    jitter: float = 0.05
    """Standard deviation of where objects lie around what their relation says, image widths."""
    distractors: int = 2
    """Prototypes of nothing."""

    @property
    def grid(self) -> tuple[float, ...]:
        """Errors of the relation."""
        return self.errors

    def channels(self, error: float) -> tuple[tuple[int, float], ...]:
        """Symbols and error of subject, object and relation."""
        return (self.objects, self.object_error), (self.objects, self.object_error), (len(PLACES), error)

    def mutual_information(self, parameter: float) -> float:
        """Of subject, object and relation, which are independent: the sum over them."""
        return sum(channel_information(symmetric_channel(*channel)) for channel in self.channels(parameter))

    def draw(self, parameter: float, pairs: int, rng: np.random.Generator) -> Sample:
        """Independent pairs."""
        log_ratio = torch.zeros(pairs, pairs, dtype=torch.float64)
        symbols = []
        for size, error in self.channels(parameter):
            shown = rng.integers(size, size=pairs)
            told = (shown + (rng.random(pairs) < error) * rng.integers(1, size, size=pairs)) % size
            with np.errstate(divide="ignore"):
                ratio = np.log(size * symmetric_channel(size, error))
            log_ratio += torch.from_numpy(ratio[shown[:, None], told])
            symbols.append((torch.from_numpy(shown), torch.from_numpy(told)))
        (subject, said_subject), (object_, said_object), (relation, said_relation) = symbols
        seen, said = self._embed(subject, object_, rng), self._embed(said_subject, said_object, rng)
        return Sample(
            F.normalize(seen.sum(dim=1), dim=-1),
            F.normalize(said.sum(dim=1), dim=-1),
            self._prototypes(seen, relation, rng),
            self._phrases(said, said_relation),
            log_ratio,
            self._phrases(said, said_relation ^ 1),
        )

    def _embed(
        self, subject: Int[Tensor, "pair"], object_: Int[Tensor, "pair"], rng: np.random.Generator
    ) -> Float[Tensor, "pair 2 dim"]:
        """Both objects as noisy vectors, one axis a kind; not normalised."""
        place = torch.stack([subject, self.objects + object_], dim=1)
        exact = F.one_hot(place, 2 * self.objects).double()
        return exact + self.noise / math.sqrt(exact.shape[-1]) * torch.from_numpy(rng.normal(size=exact.shape))

    def _prototypes(
        self, objects: Float[Tensor, "pair 2 dim"], relation: Int[Tensor, "pair"], rng: np.random.Generator
    ) -> Prototypes:
        pairs, _, dim = objects.shape
        others = torch.from_numpy(rng.normal(size=(pairs, self.distractors, dim)))
        features = F.normalize(torch.cat([objects, others], dim=1), dim=-1)
        centres = torch.from_numpy(rng.uniform(0.2, 0.8, size=(pairs, 2 + self.distractors, 2)))
        middle = torch.from_numpy(rng.uniform(0.4, 0.6, size=(pairs, 2)))
        offset = _offset(relation) + self.jitter * torch.from_numpy(rng.normal(size=(pairs, 2)))
        centres[:, 0], centres[:, 1] = middle + offset, middle - offset
        return _prototypes(features, _moments(centres))

    def _phrases(self, words: Float[Tensor, "pair 2 dim"], relation: Int[Tensor, "pair"]) -> Phrases:
        if not self.reads_relations:
            return _phrases(F.normalize(words, dim=-1), torch.full(words.shape[:2], ENTITY))
        # A relation is matched by the geometry of its arguments alone, so the vector of its phrase says nothing.
        features = F.pad(F.normalize(words, dim=-1), (0, 0, 0, 1))
        kind = torch.tensor([ENTITY, ENTITY, RELATION]).repeat(len(words), 1)
        offset = _offset(relation)
        asked = relative_geometry(_moments(offset), _moments(-offset))
        direction = F.pad(F.normalize(asked, dim=-1)[:, None], (0, 0, 2, 0))
        return _phrases(features, kind, direction)


World = GaussianParts | Scenes
"""Has one parameter, over whose `grid` mutual information rises, and draws independent pairs at each value of it."""


def _offset(relation: Int[Tensor, "pair"]) -> Float[Tensor, "pair 2"]:
    """From the middle to the subject, image widths; the object lies as far on the other side."""
    return 0.15 * torch.tensor(PLACES, dtype=torch.float64)[relation]


def _moments(centre: Float[Tensor, "*item 2"]) -> Float[Tensor, "*item 5"]:
    """Moments of maps that differ in their centres alone."""
    return F.pad(centre, (0, 3), value=0.1)


def _prototypes(features: Float[Tensor, "pair part dim"], moments: Float[Tensor, "pair part 5"]) -> Prototypes:
    """Prototypes of equal mass."""
    return Prototypes(features, torch.full_like(features[..., 0], 1 / features.shape[1]), None, moments)


def _phrases(
    features: Float[Tensor, "pair unit dim"],
    kind: Int[Tensor, "pair unit"],
    direction: Float[Tensor, "pair unit 8"] | None = None,
) -> Phrases:
    """Phrases of equal weight; the first two are the arguments of a relation."""
    relates = kind == RELATION
    assert kind.min() > NONE and (direction is None or direction.shape[-1] == GEOMETRY)
    return Phrases(
        features,
        torch.full_like(features[..., 0], 1 / features.shape[1]),
        kind,
        subject=torch.where(relates, 0, -1),
        object=torch.where(relates, 1, -1),
        assign=None,
        direction=direction,
    )
