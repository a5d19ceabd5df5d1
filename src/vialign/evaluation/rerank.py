"""Re-ranking: a cheap score orders the whole gallery, the exact pairwise score only the first k of each query.

For methods whose score depends on the pair, and galleries too large for it. How often the shortcut gives the answer of
the exact ranking is measured by `ranking_agreement`, on as many queries as one cares to rank exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.evaluation.retrieval import LEVELS, Ranks
from vialign.progress import track_blocks

_CELLS = 1 << 21
"""Scores of a block of queries with the whole gallery, at most; with more candidates the block has fewer queries."""
GalleryScores = Callable[[Tensor], Tensor]
"""From positions of queries (query,) to their scores with every candidate of the gallery (query, candidate)."""
PairScores = Callable[[Tensor, Tensor], Tensor]
"""From aligned positions of queries (pair,) and of candidates (pair,) to their scores (pair,)."""


@dataclass(frozen=True)
class Ranking:
    """How each query of one direction fared, as in `retrieval`, and what it found first."""

    ranks: Ranks
    first: Int[Tensor, "query"]
    """Position of the candidate that ranks first; a wrong one before a right one that ties with it."""


def rerank(
    cheap: GalleryScores,
    exact: PairScores,
    group_of_query: Int[Tensor, "query"],
    group_of_candidate: Int[Tensor, "candidate"],
    k: int,
    *,
    queries: Int[Tensor, "chosen"] | None = None,
    block: int = 64,
) -> Ranking:
    """Ranks of the queries (all, or those at these positions) when only the `k` best by `cheap` are scored exactly.

    A candidate is right when its group is the query's: for text to image, the group of a caption is its image's
    position and that of an image its own. Candidates beyond the first k follow in the order of the cheap score, behind
    all of the first k; a tie is lost, as everywhere. With k = candidates this is the exact ranking. Memory: scores of
    `block` queries with all candidates, never more than `_CELLS` nor, of pairs, `block` times k. Raises ValueError for
    k < 1 or a score that is not finite.
    """
    if k < 1:
        raise ValueError(f"re-ranking needs k of at least 1, not {k}")
    chosen = torch.arange(len(group_of_query)) if queries is None else queries
    k = min(k, len(group_of_candidate))
    block = max(1, min(block, _CELLS // max(1, len(group_of_candidate))))
    parts = [
        _ranked(part, cheap, exact, group_of_query[part][:, None] == group_of_candidate[None, :], k)
        for part in track_blocks(chosen.split(block), f"re-rank {k} of {len(group_of_candidate)}", len(chosen))
    ]
    above, level, rival, first = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Ranking(Ranks(chosen, above, level, rival), first)


def rerank_retrieval(
    images: Float[Tensor, "image dim"],
    captions: Float[Tensor, "caption dim"],
    exact: PairScores,
    image_of_caption: Int[Tensor, "caption"],
    k: int,
    *,
    queries: tuple[Tensor, Tensor] | None = None,
    block: int = 64,
) -> tuple[Ranking, Ranking]:
    """(image to text, text to image), with the products of these embeddings as the cheap score.

    `exact` takes positions of images and of captions, in this order; `queries` are the positions of the images and of
    the captions to rank, by default all that are queries in `retrieval_ranks`: images with a caption, every caption.
    """
    of_images, of_captions = queries or (torch.unique(image_of_caption), torch.arange(len(captions)))
    own = torch.arange(len(images))
    to_text = rerank(lambda q: images[q] @ captions.T, exact, own, image_of_caption, k, queries=of_images, block=block)
    to_image = rerank(
        lambda q: captions[q] @ images.T,
        lambda q, c: exact(c, q),
        image_of_caption,
        own,
        k,
        queries=of_captions,
        block=block,
    )
    return to_text, to_image


def ranking_agreement(first: Ranking, second: Ranking) -> dict[str, float]:
    """Share of queries for which both rankings agree: on R@1, R@5 and R@10 (`r1`, ...), and on what is `first`.

    Raises ValueError when they rank other queries, or none.
    """
    if not torch.equal(first.ranks.queries, second.ranks.queries) or not len(first.first):
        raise ValueError("rankings of other queries cannot be compared, nor those of none")
    same = {f"r{k}": (first.ranks.level < k) == (second.ranks.level < k) for k in LEVELS}
    same["first"] = first.first == second.first
    return {name: float(agree.double().mean()) for name, agree in same.items()}


def _ranked(
    queries: Int[Tensor, "query"],
    cheap: GalleryScores,
    exact: PairScores,
    right: Bool[Tensor, "query candidate"],
    k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(above, level, rival, first) of a block of queries, as `Ranks` and `Ranking` hold them."""
    scores = cheap(queries).double()
    short = scores.topk(k, dim=1).indices
    pairs = exact(queries.repeat_interleave(k), short.flatten()).double().view(len(queries), k)
    if scores.shape != right.shape or not bool(torch.isfinite(scores).all() and torch.isfinite(pairs).all()):
        raise ValueError("scores are not finite, or not one a candidate")
    # Two keys order all candidates: being on the shortlist, then the score that counts there.
    listed = torch.zeros_like(right).scatter(1, short, True)
    value = scores.scatter(1, short, pairs)
    has_listed = (right & listed).any(dim=1, keepdim=True)
    best = value.masked_fill(~right | (listed != has_listed), -torch.inf).amax(dim=1, keepdim=True)
    # Before the best right candidate: the whole shortlist when it is not on it, and what scores higher beside it.
    before = (listed & ~has_listed) | ((listed == has_listed) & (value > best))
    beside = (listed == has_listed) & (value == best)
    depth = max(LEVELS)
    above = (before & ~right).sum(dim=1).clamp(max=depth)
    level = ((before | beside) & ~right).sum(dim=1)
    wrong = _first(value, listed & ~right, ~listed & ~right)
    own = _first(value, listed & right, ~listed & right)
    first = torch.where((level > 0) | (own < 0), wrong, own)
    return above, level.clamp(max=depth), wrong, first


def _first(
    value: Float[Tensor, "query candidate"],
    listed: Bool[Tensor, "query candidate"],
    others: Bool[Tensor, "query candidate"],
) -> Int[Tensor, "query"]:
    """Position of the best candidate among `listed`, else among `others`; -1 where both are empty."""
    among = torch.where(listed.any(dim=1, keepdim=True), listed, others)
    position = value.masked_fill(~among, -torch.inf).argmax(dim=1)
    return torch.where(among.any(dim=1), position, -1)
