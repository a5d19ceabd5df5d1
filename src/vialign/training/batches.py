"""The order of training batches, a pure function of seed and step: resuming needs no state."""

import numpy as np
import torch

from vialign.errors import UserError
from vialign.methods.objective import Batch, SplitData
from vialign.random import generator


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
        rank = rng.random((len(chosen), self._negatives.shape[1])) + 2.0 * (self._negatives[texts] < 0)
        if rank.shape[1]:
            negatives = self._negatives[texts, rank.argmin(axis=1)]
        else:
            negatives = np.full(len(chosen), -1, dtype=np.int64)
        return Batch(torch.from_numpy(self._images[chosen]), torch.from_numpy(texts), torch.from_numpy(negatives))
