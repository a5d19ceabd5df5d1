"""Noisy captions: a share of the training captions made wrong, and rules that weigh or choose pairs to make up for it.

Every rule sees the same batches. The signals are those of the untrained method, so they cost one look at each pair; the
small loss (Han et al. 2018, arXiv:1804.06872) is that of the step. Rules that choose are told the share of wrong
captions, as in the literature, and leave out as many pairs of each batch.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.analysis.uses.names import CHOICES, DOUBT, PLAIN, SIGNALS, SMALL_LOSS, WEIGHTS, Noise
from vialign.contrastive import contrastive_loss, pair_losses
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.curriculum.reweight import normalise_weights
from vialign.methods.objective import Batch, Objective, Side, SplitData
from vialign.random import generator
from vialign.signal.drivers import SignalDriver

Rule = Callable[[Batch, Float[Tensor, "batch"]], Float[Tensor, "batch"] | None]
"""From a batch and the losses of its pairs to their weights, mean 1; None where all count the same."""


def noisy(data: SplitData, noise: Noise, seed: int) -> SplitData:
    """The split with wrong captions; which ones follows from the seed.

    `random`: the drawn captions exchange their images. `hard`: a rule-made negative stands in the caption's place, and
    the caption among the negatives of that; captions without one stay right.
    """
    count = round(noise.share * len(data.captions))
    order = torch.from_numpy(generator(seed, "noisy captions").permutation(len(data.captions)))
    if noise.kind == "random":
        chosen = data.captions[order[:count]]
        # With the captions of an image side by side, a step of as many as any image has leads to another image.
        place = torch.from_numpy(generator(seed, "noisy images").permutation(len(data.image_ids)))
        chosen = chosen[place[data.image_of_text[chosen]].argsort(stable=True)]
        owners = data.image_of_text.clone()
        most = int(owners[chosen].bincount().max()) if count else 0
        owners[chosen] = owners[chosen].roll(most)
        return replace(data, image_of_text=owners)
    has = (data.negatives[data.captions] >= 0).any(dim=1)[order]
    places = order[has][:count]
    captions, negatives = data.captions.clone(), data.negatives.clone()
    rng = generator(seed, "hard noise")
    for place in places.tolist():
        caption = int(captions[place])
        own = (data.negatives[caption] >= 0).nonzero()[:, 0]
        slot = int(own[int(rng.integers(len(own)))])
        wrong = int(data.negatives[caption, slot])
        captions[place] = wrong
        negatives[wrong] = data.negatives[caption]
        negatives[wrong, slot] = caption
    return replace(data, captions=captions, negatives=negatives)


def rule_of(name: str, method: CurriculumMethod, data: SplitData, share: float) -> Rule:
    """The rule of this name, for a training on `data` of whose captions a share is wrong."""
    if name == PLAIN:
        return lambda batch, losses: None
    if name == SMALL_LOSS:
        return lambda batch, losses: kept_largest(-losses, share)
    signal = {**{told: own for own, told in WEIGHTS.items()}, **{told: own for own, told in CHOICES.items()}}[name]
    values = signal_of("C" if signal == DOUBT else signal, method, data)
    if name in CHOICES.values():
        return lambda batch, losses: kept_largest(values[batch.texts], share)
    values = 1 - values if signal == DOUBT else values
    level = values[data.captions].mean()
    assert method.reweight is not None
    low, high = method.reweight.low, method.reweight.high
    return lambda batch, losses: normalise_weights(values[batch.texts], level, low, high)


def signal_of(name: str, method: CurriculumMethod, data: SplitData) -> Float[Tensor, "text"]:
    """A signal of every caption with its image, by text position; 0 for texts that are no caption."""
    drive = method.drive
    method.drive = SignalDriver(SIGNALS[name], method.calibration)
    with torch.no_grad():
        found = torch.cat([method.consistency(data, part) for part in data.captions.split(1024)])
    method.drive = drive
    return torch.zeros(len(data.texts)).index_put((data.captions,), found)


def kept_largest(values: Float[Tensor, "batch"], share: float) -> Float[Tensor, "batch"]:
    """Weights, mean 1, that leave out this share of a batch: the pairs with the smallest values."""
    kept = max(1, len(values) - round(share * len(values)))
    weights = torch.zeros_like(values)
    weights[values.topk(kept).indices] = len(values) / kept
    return weights


class Weighed(Objective):
    """Another method whose pairs are weighed by a rule, in the contrastive and in the hard-negative term."""

    def __init__(self, inner: CurriculumMethod, rule: Rule) -> None:
        super().__init__()
        self.inner, self.rule = inner, rule
        self.name, self.needs = inner.name, inner.needs
        self.logit_scale, self.negative_weight = inner.logit_scale, inner.negative_weight

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """As the method's."""
        return self.inner.images(data, index)

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """As the method's."""
        return self.inner.texts(data, index)

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """As the method's."""
        return self.inner.scores(images, texts)

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """As the method's."""
        return self.inner.pair_scores(images, texts)

    def begin(self, data: SplitData) -> None:
        """As the method's."""
        self.inner.begin(data)

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """The plain loss with a weight for every pair."""
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        logits = self.logit_scale * scores
        weights = self.rule(batch, pair_losses(logits).detach())
        negative = self.negative_term(batch, images, scores, wrong, weights)
        return self.total(contrastive_loss(logits, weights), negative)
