"""The ledger of one method without a run: sizes and times depend on no weights and no pictures, so both are drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from vialign.backbone import load_backbone
from vialign.budget import largest_rank
from vialign.budget.counting import count_parameters, count_parser, count_stored
from vialign.catalogue import CURRICULUM
from vialign.config.experiment import Config
from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.sampling import sample_scenes
from vialign.errors import UserError
from vialign.features import BackboneFacts
from vialign.methods.build import build_method
from vialign.methods.sizing import extra_at_rank
from vialign.random import derive_seed, generator
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.toolkit.parsing import find_parser
from vialign.training.efficiency import Bench, fresh_units, measure_methods

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone

CALIBRATION = SignalCalibration(LogisticCalibration(8.0, -3.0), LogisticCalibration(8.0, -3.0))
"""Maps of the usual steepness; a map is two numbers whatever they are."""


def random_backbone(config: Config) -> "Backbone":
    """The configured backbone with random weights. Raises UserError as `load_backbone`."""
    return load_backbone(config.backbone.model_copy(update={"checkpoint": None}), config.seed)


def find_nlp(method: str, config: Config, pipeline: Path | None) -> "Language":
    """The parser in a folder, or a small one trained now; an empty pipeline for methods that parse nothing.

    Raises UserError when the folder holds no pipeline.
    """
    if pipeline is not None or CURRICULUM.get(method):
        return find_parser(pipeline, None, config.language, config.seed)
    import spacy

    return spacy.blank("en")


def measure_alone(
    method: str,
    config: Config,
    backbone: "Backbone",
    nlp: "Language",
    *,
    parsed: float = 1.0,
    batch: int | None = None,
    rounds: int | None = None,
) -> pd.DataFrame:
    """Every measure of one method at the backbone's size, columns as `BUDGET`.

    `parsed` is the share of captions that go to the parser `nlp`. Without `batch` and `rounds` they are those of
    `config.budget`, which has a batch of its own for the reference size. Raises UserError when no method has that name.
    """
    law = config.budget
    at_reference = config.backbone.architecture == law.reference
    batch = batch or (law.reference_batch if at_reference else law.batch)
    captions, others = drawn_captions(batch, config.seed)
    side = backbone.image_size
    random = torch.Generator().manual_seed(derive_seed(config.seed, "budget", "pixels"))
    bench = Bench(
        name=f"{config.backbone.architecture} (random weights)",
        backbone=backbone,
        nlp=nlp,
        calibration=CALIBRATION,
        pixels=torch.randint(0, 256, (batch, 3, side, side), generator=random, dtype=torch.uint8),
        captions=captions,
        negatives=others,
        shares={"none": 0.0, "asked": parsed, "all": 1.0},
        timed="asked",
        **fresh_units(backbone, config, config.features.readout),
    )
    return measure_methods(bench, config, [method], rounds=rounds or law.rounds)


def largest_allowed(method: str, config: Config, backbone: "Backbone", nlp: "Language") -> tuple[str, int, int]:
    """The largest rank that the limit on parameters allows a method, up to the dimension of the joint space.

    What the parser `nlp` stores counts for a method that parses. Returns the config value that sets the rank, the rank,
    and the extra parameters of the method at it. Raises UserError for methods without a rank, and when even rank 1 is
    too large.
    """
    if method in CURRICULUM:
        value, parser = "curriculum.rank", count_parser(nlp)
        modules = extra_at_rank(config, BackboneFacts.of(backbone), CALIBRATION)
        extra: Callable[[int], int] = lambda rank: modules(rank) + parser  # noqa: E731
    elif method == "lora":
        value, extra = "training.lora_rank", _lora_at_rank(config, backbone)
    else:
        raise UserError(f"--size: {method} has no rank; it sizes lora and vialign with its subsets")
    limit = config.budget.parameters * count_parameters([backbone.model])
    rank = largest_rank(extra, limit, range(1, backbone.dimension + 1))
    return value, rank, extra(rank)


def _lora_at_rank(config: Config, backbone: "Backbone") -> Callable[[int], int]:
    """Each rank costs the same, so two of them tell all."""
    counts = []
    for rank in (1, 2):
        training = config.training.model_copy(update={"lora_rank": rank})
        built = build_method("lora", config.model_copy(update={"training": training}), backbone, CALIBRATION, 0)
        counts.append(count_stored([backbone.model, built]) - count_stored([backbone.model]))
    first, second = counts
    return lambda rank: first + (rank - 1) * (second - first)


def drawn_captions(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Two different captions of each of `count` drawn scenes: one that is true, one in the place of a negative."""
    random: np.random.Generator = generator(seed, "budget", "captions")
    trees = [scene_captions(random, scene) for scene, _ in sample_scenes(random, count)]
    return [tree_text(tree[0]) for tree in trees], [tree_text(tree[1]) for tree in trees]
