"""The selection check of a method during training: recall, accuracy against negatives, and the signal's spread."""

from collections.abc import Callable
from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.methods.objective import Objective, Side, SplitData, select


class Row(TypedDict):
    """One row of MONITOR."""

    step: int
    recall: float
    negatives: float | None
    consistency_mean: float | None
    consistency_sd: float | None


def recall_at_1(
    scores: Float[Tensor, "image caption"], image_of_caption: Int[Tensor, "caption"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """R@1 of (image to text, text to image); any of an image's captions counts, and a tie is lost.

    Images without a caption are no queries, but stay in the gallery.
    """
    own = image_of_caption[None, :] == torch.arange(len(scores), device=scores.device)[:, None]
    right = scores.masked_fill(~own, -torch.inf)
    wrong = scores.masked_fill(own, -torch.inf)
    image_hits = right.amax(dim=1) > wrong.amax(dim=1)
    text_hits = right.amax(dim=0) > wrong.amax(dim=0)
    return image_hits[own.any(dim=1)].double().mean(), text_hits.double().mean()


def carries_signal(objective: Objective, data: SplitData) -> bool:
    """Whether the method has a C to monitor."""
    return objective.consistency(data, data.captions[:1]) is not None


def sample_images(data: SplitData, count: int) -> Int[Tensor, "image"]:
    """Positions of `count` images, evenly spread over the split: the same for every method and seed."""
    size = len(data.image_ids)
    return torch.linspace(0, size - 1, min(count, size), dtype=torch.float64).round().long()


@torch.no_grad()
def check(
    objective: Objective, data: SplitData, step: int, batch: int = 256, sample: Int[Tensor, "image"] | None = None
) -> Row:
    """One row of MONITOR, with all images and captions of the split, or with the images of `sample` and theirs."""
    was_training = objective.training
    objective.eval()
    if sample is None:
        sample = torch.arange(len(data.image_ids))
    place = torch.full((len(data.image_ids),), -1).index_put((sample,), torch.arange(len(sample)))
    captions = data.captions[place[data.image_of_text[data.captions]] >= 0]
    owner = place[data.image_of_text[captions]]
    images = _side(lambda part: objective.images(data, part), sample, batch)
    texts = _side(lambda part: objective.texts(data, part), captions, batch)
    parts = torch.arange(len(sample)).split(batch)
    scores = torch.cat([objective.scores(select(images, part), texts) for part in parts])
    image_to_text, text_to_image = recall_at_1(scores, owner)
    signal = [objective.consistency(data, part) for part in captions.split(batch)]
    values = torch.cat([part for part in signal if part is not None]) if signal[0] is not None else None
    objective.train(was_training)
    return {
        "step": step,
        "recall": float((image_to_text + text_to_image) / 2),
        "negatives": _against_negatives(objective, data, captions, owner, images, texts, batch),
        "consistency_mean": None if values is None else float(values.mean()),
        "consistency_sd": None if values is None else float(values.std(correction=0)),
    }


def selection_score(row: Row) -> float:
    """Mean of recall and accuracy against negatives, by which weights are kept; recall alone without negatives."""
    return row["recall"] if row["negatives"] is None else (row["recall"] + row["negatives"]) / 2


def _against_negatives(
    objective: Objective,
    data: SplitData,
    captions: Int[Tensor, "caption"],
    owner: Int[Tensor, "caption"],
    images: Side,
    texts: Side,
    batch: int,
) -> float | None:
    """Mean over captions of the share of their rule-made negatives that score strictly lower; None without any.

    `owner` is the place of each caption's image in `images`.
    """
    row, column = (data.negatives[captions] >= 0).nonzero(as_tuple=True)
    if not len(row):
        return None
    right = torch.cat(
        [
            objective.pair_scores(select(images, owner[part]), select(texts, part))
            for part in torch.arange(len(owner)).split(batch)
        ]
    )
    beaten = []
    for part in torch.arange(len(row)).split(batch):
        caption = row[part]
        negatives = objective.texts(data, data.negatives[captions[caption], column[part]])
        wrong = objective.pair_scores(select(images, owner[caption]), negatives)
        beaten.append((right[caption] > wrong).double())
    wins = torch.zeros(len(owner), dtype=torch.float64).index_add(0, row, torch.cat(beaten))
    count = row.bincount(minlength=len(owner))
    return float((wins / count)[count > 0].mean())


def _side(encode: Callable[[Tensor], Side], positions: Int[Tensor, "item"], batch: int) -> Side:
    parts = [encode(part) for part in positions.split(batch)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
