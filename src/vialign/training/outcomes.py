"""Trained methods on a split that training never reads, from their checkpoints, one after the other in one process."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from vialign.data.folders import image_folders
from vialign.device import device_of
from vialign.evaluation.run import core_outcomes, negatives_by_kind
from vialign.files.artifacts import read_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.checkpoint import load_checkpoint
from vialign.methods.inputs import read_split
from vialign.methods.objective import SplitData
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.training.job import SPLIT_PARTS
from vialign.training.records import training_of


def checkpoint_outcomes(
    run: Run,
    paths: Sequence[str | Path],
    split: str,
    *,
    weights: Literal["weights", "best"],
    negatives: bool = True,
    kinds: bool = False,
    batch: int = 256,
) -> pd.DataFrame:
    """OUTCOMES of every checkpoint on `split`: retrieval, rule-made negatives unless they are not wanted, and each kind
    of them by itself where `kinds` are.

    `weights` are those of the last step or the best ones. The inputs of the rule are those of `encoded(split)`,
    `images` and `calibration`. What a method reads of the split is read once for all methods that need the same.
    """
    config, calibration = run.config, read_calibration(run.input.calibration)
    images = read_table(run.input.images, IMAGES)
    folders, device = image_folders(config.data, Path(run.input.images).parent), device_of(config)
    known: dict[frozenset[str], SplitData] = {}
    frames = []
    for path in paths:
        name, seed = training_of(path)
        backbone = open_backbone(name, config, run.input.image_features)
        method = build_method(name, config, backbone, calibration, seed)
        method.to(device).load_state(getattr(load_checkpoint(path), weights))
        if method.needs not in known:
            parts = [run.input[part] for part in SPLIT_PARTS]
            data = read_split(
                *parts, needs=method.needs, images=images, folders=folders, backbone=backbone, device=device
            )
            known[method.needs] = data if negatives else replace(data, negatives=data.negatives[:, :0])
        frames.append(core_outcomes(method.eval(), known[method.needs], name, seed, split, batch))
        if kinds:
            frames.append(negatives_by_kind(method, known[method.needs], name, seed, batch, split))
    return pd.concat(frames, ignore_index=True)
