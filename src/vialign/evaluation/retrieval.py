"""Retrieval recall in both directions, streamed over blocks of images.

Any-hit convention of CLIP: an image has several captions, and image-to-text retrieval succeeds at k when any of them
is among the first k. A tie counts as lost: a wrong candidate with the same score as the right one ranks before it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.evaluation.outcomes import NotFinite, item_rows

LEVELS = (1, 5, 10)
"""The k of R@k."""


@dataclass(frozen=True)
class Ranks:
    """How each query of one direction fared."""

    queries: Int[Tensor, "query"]
    """Position of each query: of an image (image to text) or in the list of captions (text to image)."""
    above: Int[Tensor, "query"]
    """Wrong candidates that score higher than the right one, counted up to the largest k."""
    level: Int[Tensor, "query"]
    """Wrong candidates that score at least as high, counted up to the largest k: the query succeeds at k when this
    is below k."""
    rival: Int[Tensor, "query"]
    """Position of the best wrong candidate; -1 when there is none."""


def retrieval_ranks(
    blocks: Iterable[Float[Tensor, "_ caption"]], image_of_caption: Int[Tensor, "caption"], images: int
) -> tuple[Ranks, Ranks]:
    """Ranks of (image to text, text to image) from one pass over the score matrix.

    `blocks` are consecutive rows of the (images, captions) scores, so the matrix is never held whole: memory is twice
    one block and ten candidates a caption. For COCO's 5,000 images and 25,010 captions a block of 83 images is 8 MB in
    float32 and the candidates are 8 MB; the whole matrix would be 500 MB. Images without a caption are no
    queries, but stay in the gallery. Raises ValueError when the blocks do not add up to `images` rows or hold a score
    that is not finite.
    """
    depth = max(LEVELS)
    captions = len(image_of_caption)
    # float64 holds scores of any precision exactly, so ties stay ties.
    truth = torch.full((captions,), -torch.inf, dtype=torch.float64)
    best = torch.full((depth, captions), -torch.inf, dtype=torch.float64)
    best_image = torch.full((depth, captions), -1, dtype=torch.int64)
    above, level, rival = [], [], []
    start = 0
    for block in blocks:
        if block.shape[1] != captions:
            raise ValueError(f"scores of images {start} to {start + len(block)}: not one a caption")
        if not bool(torch.isfinite(torch.stack(torch.aminmax(block))).all()):
            raise NotFinite(f"scores of images {start} to {start + len(block)} are not finite")
        here = ((image_of_caption >= start) & (image_of_caption < start + len(block))).nonzero()[:, 0]
        row = image_of_caption[here] - start
        own = block[row, here]
        wrong = block.index_put((row, here), torch.tensor(-torch.inf, dtype=block.dtype))

        right = block.new_full((len(block),), -torch.inf).scatter_reduce(0, row, own, "amax")
        candidates, position = wrong.topk(min(depth, captions), dim=1)
        above.append((candidates > right[:, None]).sum(dim=1))
        level.append(((candidates >= right[:, None]) & candidates.isfinite()).sum(dim=1))
        rival.append(torch.where(candidates[:, 0].isfinite(), position[:, 0], -1))

        truth[here] = own.double()
        first, position = wrong.topk(min(depth, len(block)), dim=0)
        best, order = torch.cat([best, first.double()]).topk(depth, dim=0)
        best_image = torch.cat([best_image, position + start]).gather(0, order)
        start += len(block)
    if start != images:
        raise ValueError(f"score blocks hold {start} images, expected {images}")
    queries = torch.unique(image_of_caption)
    image_to_text = Ranks(queries, *(_concatenate(part)[queries] for part in (above, level, rival)))
    finite = best.isfinite()
    text_to_image = Ranks(
        torch.arange(captions),
        (best > truth).sum(dim=0),
        ((best >= truth) & finite).sum(dim=0),
        torch.where(finite[0], best_image[0], -1),
    )
    return image_to_text, text_to_image


def retrieval_outcomes(
    image_to_text: Ranks, text_to_image: Ranks, image_ids: Sequence[str], captions: pd.DataFrame
) -> pd.DataFrame:
    """R@1, R@5 and R@10 of every query: columns benchmark, item_id, measure, value, tag, tie, chosen, image_id.

    `captions` are the TEXTS rows of the gallery, in its order. `chosen` names the best wrong candidate of a query
    that fails.
    """
    text_ids, image_of_text = captions["text_id"].tolist(), captions["image_id"].tolist()
    frames = []
    for benchmark, ranks, names, images, candidates in (
        ("image_to_text", image_to_text, image_ids, image_ids, text_ids),
        ("text_to_image", text_to_image, text_ids, image_of_text, image_ids),
    ):
        queries = ranks.queries.tolist()
        for k in LEVELS:
            found = (ranks.level < k).numpy()
            frames.append(
                item_rows(
                    benchmark=benchmark,
                    item_id=[names[query] for query in queries],
                    measure=f"r{k}",
                    value=found.astype(np.float64),
                    tie=(ranks.above < k).numpy() & ~found,
                    chosen=[candidates[rival] if rival >= 0 else None for rival in ranks.rival.tolist()],
                    image_id=[images[query] for query in queries],
                )
            )
    return pd.concat(frames, ignore_index=True)


def recall(ranks: Ranks, k: int, *, strict: bool = True) -> float:
    """Any-hit recall at k, a share; 0 < k <= 10. `strict=False` counts ties as right."""
    if not 0 < k <= max(LEVELS):
        raise ValueError(f"recall at {k}: ranks are counted up to {max(LEVELS)}")
    return float(((ranks.level if strict else ranks.above) < k).double().mean())


def _concatenate(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
