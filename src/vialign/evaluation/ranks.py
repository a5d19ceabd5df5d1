"""Retrieval by rank: the median rank of the first right candidate, and mAP@R over several right captions.

R@k asks whether any right caption is among the first k. mAP@R asks for all of them: with R right candidates it is the
mean over them of the precision at their own place, where a place beyond R counts 0 (Musgrave, Belongie and Lim 2020,
arXiv:2003.08505; used for captions by Chun et al. 2022, arXiv:2204.03359). With one right candidate it is R@1. A tie
is lost, as in `vialign.evaluation.retrieval`.

How others count: CLIP_benchmark's `image_retrieval_recall@k` and `text_retrieval_recall@k` are R@k as here (any hit),
and so is `RetrievalHitRate` of torchmetrics, whose `RetrievalRecall` is the share of the right captions found;
`RetrievalMAP` of torchmetrics divides by the right candidates that were found, and its `RetrievalRPrecision` counts
them without their places: neither is mAP@R.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.tables.evaluation import RANKS

_ROWS = 32
"""Images counted at a time: what is compared takes several times the room of their scores."""


class RankCounter:
    """Counts the ranks of both directions while the blocks of a score matrix pass by."""

    def __init__(self, image_of_caption: Int[Tensor, "caption"], truth: Float[Tensor, "caption"]) -> None:
        """`truth` is the score of every caption with its own image."""
        self._image_of_caption, self._truth = image_of_caption, truth.double()
        self._above = torch.zeros(len(image_of_caption), dtype=torch.int64)
        self._first: list[Tensor] = []
        self._precision: list[Tensor] = []
        self._images = 0

    def watch(self, blocks: Iterable[Float[Tensor, "_ caption"]]) -> Iterator[Float[Tensor, "_ caption"]]:
        """The same blocks, consecutive rows of the (images, captions) scores, counted on their way."""
        for block in blocks:
            for part in block.split(_ROWS):
                self._count(part.double())
            yield block

    def _count(self, scores: Float[Tensor, "_ caption"]) -> None:
        own = self._image_of_caption[None, :] == torch.arange(self._images, self._images + len(scores))[:, None]
        self._above += ((scores >= self._truth[None, :]) & ~own).sum(dim=0)
        asked = own.any(dim=1)
        first, precision = first_rank_and_precision(scores[asked], own[asked])
        self._first.append(first)
        self._precision.append(precision)
        self._images += len(scores)

    def rows(self, split: str, method: str, seed: int) -> pd.DataFrame:
        """Rows of `RANKS`, one a direction."""
        to_image = 1 + self._above
        columns = {
            "image_to_text": (torch.cat(self._first), torch.cat(self._precision), len(self._image_of_caption)),
            "text_to_image": (to_image, (to_image == 1).double(), self._images),
        }
        rows = [
            {
                "method": method,
                "seed": seed,
                "benchmark": f"{split}/{direction}",
                "median_rank": float(np.median(ranks.numpy())),
                "map_at_r": float(precision.mean()),
                "queries": len(ranks),
                "gallery": gallery,
            }
            for direction, (ranks, precision, gallery) in columns.items()
        ]
        return RANKS.check(pd.DataFrame(rows))


def first_rank_and_precision(
    scores: Float[Tensor, "query candidate"], right: Bool[Tensor, "query candidate"]
) -> tuple[Int[Tensor, "query"], Float[Tensor, "query"]]:
    """Rank of the first right candidate of every query, from 1, and its AP@R, where R is its number of right ones.

    Every query has a right candidate. A wrong candidate with the score of a right one stands before it.
    """
    count = right.sum(dim=1)
    most = int(count.max()) if len(count) else 0
    best = scores.masked_fill(~right, -torch.inf).topk(most, dim=1).values if most else scores[:, :0]
    wrong = scores.masked_fill(right, -torch.inf)
    place = torch.arange(1, most + 1)
    before = (
        torch.stack([(wrong >= best[:, k : k + 1]).sum(dim=1) for k in range(most)], dim=1) if most else best.long()
    )
    found = place[None, :] + before
    counted = (place[None, :] <= count[:, None]) & (found <= count[:, None])
    precision = torch.where(counted, place[None, :] / found, 0.0).double().sum(dim=1) / count
    return found[:, 0] if most else count, precision
