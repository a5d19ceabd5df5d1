"""The order of training batches, a pure function of seed and step: resuming needs no state."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vialign.errors import UserError
from vialign.methods.objective import Batch, SplitData
from vialign.random import generator


@runtime_checkable
class Batches(Protocol):
    """Where a training has its batches from."""

    def draw(self, step: int) -> Batch:
        """The batch of a step, counted from 1."""


class BatchOrder:
    """Draws the batch of any step: distinct images, one caption each, and one of the caption's negatives."""

    def __init__(self, data: SplitData, batch: int, seed: int) -> None:
        """Raises UserError when fewer than two images have a caption: there is nothing to contrast."""
        captions = data.captions.numpy()
        owner = data.image_of_text.numpy()[captions]
        order = np.argsort(owner, kind="stable")
        self._captions = captions[order]
        self._images, self._start, self._count = np.unique(owner[order], return_index=True, return_counts=True)
        if len(self._images) < 2:
            raise UserError(f"training split: {len(self._images)} images with a caption; at least 2 are needed")
        self._negatives = data.negatives.numpy()
        self._batch = min(batch, len(self._images))
        self._seed = seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the images; the rest of a pass is left out, another one each time."""
        return len(self._images) // self._batch

    def draw(self, step: int) -> Batch:
        """The batch of a step, counted from 1."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            self._permutation = generator(self._seed, "image order", epoch).permutation(len(self._images))
            self._epoch = epoch
        chosen = self._permutation[place * self._batch : (place + 1) * self._batch]
        rng = generator(self._seed, "captions and negatives", step)
        texts = self._captions[self._start[chosen] + rng.integers(self._count[chosen])]
        images, negatives = torch.from_numpy(self._images[chosen]), self.negatives_of(texts, rng)
        return Batch(images, torch.from_numpy(texts), negatives)

    def negatives_of(self, texts: np.ndarray, rng: np.random.Generator) -> Int[Tensor, "batch"]:
        """One of the negatives of each of these captions; -1 where there is none."""
        rank = rng.random((len(texts), self._negatives.shape[1])) + 2.0 * (self._negatives[texts] < 0)
        if not rank.shape[1]:
            return torch.full((len(texts),), -1)
        return torch.from_numpy(self._negatives[texts, rank.argmin(axis=1)])
