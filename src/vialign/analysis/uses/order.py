"""Curriculum in time: captions join the training one after another, in the order of a signal or in a drawn one.

The share of captions that may be drawn grows as in the competence of Platanios et al. 2019 (arXiv:1903.09848), with the
square root of the step, from `START` to all of them at `WHOLE` of the training. A drawn order with the same growth
stands beside each order by a signal: what both share is the growth, and what parts them is the signal.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vialign.analysis.uses.names import ALL_AT_ONCE, AT_RANDOM
from vialign.analysis.uses.noise import signal_of
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import Batch, SplitData
from vialign.random import generator
from vialign.training.batches import BatchOrder

START = 0.1
"""Share of the captions that the first step may draw from."""
WHOLE = 0.5
"""Share of the steps after which all captions may be drawn."""


def competence(step: int, steps: int) -> float:
    """Share of the captions that step 1, 2, ... of `steps` may draw from, in (0, 1]."""
    progress = min(1.0, (step - 1) / max(1.0, WHOLE * steps - 1))
    return float(np.sqrt(progress * (1 - START**2) + START**2))


@dataclass(frozen=True)
class Joining:
    """Draws the batch of any step from the captions that have joined by then."""

    plain: BatchOrder
    """Draws from all captions; decides the size of a batch and the negative of a caption."""
    data: SplitData
    captions: np.ndarray
    """(caption,) text positions, the first to join first."""
    steps: int
    seed: int

    def draw(self, step: int) -> Batch:
        """The batch of a step, counted from 1: distinct images, one of the joined captions each.

        At least as many captions have joined as bring the images of a batch.
        """
        owner = self.data.image_of_text.numpy()
        size = len(self.plain.draw(step).images)
        count = round(competence(step, self.steps) * len(self.captions))
        joined = self.captions[:count]
        while len(np.unique(owner[joined])) < size:
            count += size
            joined = self.captions[:count]
        rng = generator(self.seed, "joining", step)
        shuffled = joined[rng.permutation(len(joined))]
        images, first = np.unique(owner[shuffled], return_index=True)
        chosen = rng.permutation(len(images))[:size]
        texts = shuffled[first[chosen]]
        return Batch(torch.from_numpy(images[chosen]), torch.from_numpy(texts), self.plain.negatives_of(texts, rng))


def batches_of(
    name: str, method: CurriculumMethod, data: SplitData, batch: int, steps: int, seed: int
) -> BatchOrder | Joining:
    """The batches of a training whose captions join in the order of this name, as the untrained method has it."""
    plain = BatchOrder(data, batch, seed)
    if name == ALL_AT_ONCE:
        return plain
    values = _values(name, method, data, seed)
    order = values[data.captions].argsort(descending=True, stable=True)
    return Joining(plain, data, data.captions[order].numpy(), steps, seed)


def _values(name: str, method: CurriculumMethod, data: SplitData, seed: int) -> Float[Tensor, "text"]:
    if name == AT_RANDOM:
        return torch.from_numpy(generator(seed, "random order").random(len(data.texts)))
    end, signal, _ = name.split()
    values = signal_of(signal, method, data)
    return values if end == "high" else -values
