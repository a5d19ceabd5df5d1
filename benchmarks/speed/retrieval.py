"""Recall at 1, 5 and 10 in both directions from one score matrix, against torchmetrics and CLIP_benchmark's way."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.retrieval import RetrievalHitRate

from benchmarks.speed.comparison import Comparison, Rival
from vialign.evaluation.retrieval import LEVELS, recall, retrieval_ranks


def recalls(images: int = 500, captions: int = 2500) -> Comparison:
    """The six numbers; the scores are drawn, a little higher where they should be, and hold no tie."""
    rng = torch.Generator().manual_seed(0)
    owner = torch.arange(captions) % images
    right = owner[None, :] == torch.arange(images)[:, None]
    scores = torch.randn(images, captions, generator=rng, dtype=torch.float64) + 2.5 * right

    def ours() -> Tensor:
        ranks = retrieval_ranks(scores.split(256), owner, images)
        return torch.tensor([recall(direction, k) for direction in ranks for k in LEVELS])

    def hit_rates() -> Tensor:
        """Every query is a group of candidates."""
        found = []
        for values, truth in ((scores, right), (scores.T, right.T)):
            query = torch.arange(len(values))[:, None].expand_as(values).flatten()
            for k in LEVELS:
                metric = RetrievalHitRate(top_k=k)
                found.append(float(metric(values.flatten(), truth.flatten(), indexes=query)))
        return torch.tensor(found)

    def top_k() -> Tensor:
        """Whether any of the first k is right, in batches of 64 queries: a top k for each k, as CLIP_benchmark does."""
        found = []
        for values, truth in ((scores, right), (scores.T, right.T)):
            for k in LEVELS:
                parts = zip(values.split(64), truth.split(64), strict=True)
                hits = [own.gather(1, part.topk(k, dim=1).indices).any(dim=1) for part, own in parts]
                found.append(float(torch.cat(hits).double().mean()))
        return torch.tensor(found)

    def rival(work: Callable[[], Tensor], goal: float | None) -> Rival:
        return Rival(work, lambda: float((work() - ours()).abs().max()), 1e-6, goal)

    rivals = {
        "torchmetrics' `RetrievalHitRate`": rival(hit_rates, None),
        "a top k for each k (CLIP_benchmark's formula)": rival(top_k, None),
    }
    return Comparison(f"recall of {images:,} images and {captions:,} captions", ours, rivals, rounds=6)
