"""The selection check of a method during training: recall, accuracy against negatives, and the signal's spread."""

from typing import TypedDict

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.evaluation.run import core_outcomes
from vialign.methods.objective import Objective, SplitData


class Row(TypedDict):
    """One row of MONITOR."""

    step: int
    recall: float
    negatives: float | None
    consistency_mean: float | None
    consistency_sd: float | None


def carries_signal(objective: Objective, data: SplitData) -> bool:
    """Whether the method has a C to monitor."""
    return objective.consistency(data, data.captions[:1]) is not None


def sample_images(data: SplitData, count: int) -> Int[Tensor, "image"]:
    """Positions of `count` images, evenly spread over the split: the same for every method and seed."""
    size = len(data.image_ids)
    return torch.linspace(0, size - 1, min(count, size), dtype=torch.float64).round().long()


def check(
    objective: Objective, data: SplitData, step: int, seed: int = 0, batch: int = 256
) -> tuple[Row, pd.DataFrame]:
    """One row of MONITOR from all images and captions of the data, and the OUTCOMES that it is the mean of."""
    outcomes = core_outcomes(objective, data, objective.name, seed, "selection", batch)
    means = outcomes.groupby(["benchmark", "measure"])["value"].mean()
    recalls = [float(means[f"selection/{direction}", "r1"]) for direction in ("image_to_text", "text_to_image")]
    negatives = means.get(("selection/negatives", "accuracy"))
    values = _signal(objective, data, batch)
    return {
        "step": step,
        "recall": sum(recalls) / 2,
        "negatives": None if negatives is None else float(negatives),
        "consistency_mean": None if values is None else float(values.mean()),
        "consistency_sd": None if values is None else float(values.std(correction=0)),
    }, outcomes


@torch.no_grad()
def _signal(objective: Objective, data: SplitData, batch: int) -> Float[Tensor, "caption"] | None:
    """C of the captions with their own images; None for a method without the signal."""
    was_training = objective.training
    objective.eval()
    parts = [objective.consistency(data, part) for part in data.captions.split(batch)]
    objective.train(was_training)
    return torch.cat([part for part in parts if part is not None]) if parts[0] is not None else None


def selection_score(row: Row) -> float:
    """Mean of recall and accuracy against negatives, by which weights are kept; recall alone without negatives."""
    return row["recall"] if row["negatives"] is None else (row["recall"] + row["negatives"]) / 2
