"""The same recipe with one thing replaced: trained, and measured on captions that nothing was chosen on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch

from vialign.analysis.attribution.names import FROZEN
from vialign.analysis.attribution.replacements import Replacement
from vialign.config.methods import TrainingConfig
from vialign.evaluation.run import core_outcomes, negatives_by_kind
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.objective import Objective, SplitData
from vialign.progress import track
from vialign.random import generator
from vialign.tables.evaluation import OUTCOMES
from vialign.training.loop import train

Build = Callable[[int], CurriculumMethod]
"""From a training seed to the method at its start."""


def measured_captions(data: SplitData, images: int, seed: int) -> SplitData:
    """The split with one caption an image for retrieval, of at most `images` images; texts and negatives stay."""
    owner = data.image_of_text[data.captions]
    order = torch.from_numpy(generator(seed, "attribution captions").permutation(len(owner)))
    first: dict[int, int] = {}
    for place in order.tolist():
        first.setdefault(int(owner[place]), place)
    kept = sorted(first.values())[:images]
    return replace(data, captions=data.captions[torch.tensor(kept, dtype=torch.int64)])


def replaced_outcomes(
    build: Build,
    replacements: Sequence[Replacement],
    data: Mapping[str, SplitData],
    measured: str,
    config: TrainingConfig,
    *,
    peak_rate: float,
    seeds: Sequence[int],
    steps: int,
    images: int,
) -> pd.DataFrame:
    """OUTCOMES on the split `measured` of the method with each replacement, which the method column names.

    `data` has `train` and `measured`. Every training has the recipe, the batches and the initial values of its seed;
    the weights are those of the last step, so no split is looked at on the way.
    """
    frames = [OUTCOMES.empty()]
    for replacement in track(replacements, "attribution"):
        here = {split: replacement.data(part, split) for split, part in data.items()}
        shown = measured_captions(here[measured], images, 0)
        for seed in seeds:
            method = build(seed)
            replacement.method(method, here["train"], seed)
            train(
                method,
                here["train"],
                here["train"],
                config,
                peak_rate=peak_rate,
                seed=seed,
                to_step=steps,
                looks=(),
            )
            frames.append(final_outcomes(method, shown, replacement.name, measured, seed))
    return pd.concat(frames, ignore_index=True)


def frozen_outcomes(frozen: Objective, data: SplitData, split: str, images: int) -> pd.DataFrame:
    """The same of the backbone alone, which has nothing to draw."""
    return final_outcomes(frozen, measured_captions(data, images, 0), FROZEN, split, 0)


def final_outcomes(method: Objective, data: SplitData, name: str, split: str, seed: int) -> pd.DataFrame:
    """OUTCOMES of a method as it is: R@1 both ways, and the accuracy against negatives of each kind."""
    found = core_outcomes(method, data, name, seed, split=split)
    kinds = negatives_by_kind(method, data, name, seed, split=split)
    wanted = found["measure"].eq("r1")
    return pd.concat([found[wanted], kinds], ignore_index=True)
