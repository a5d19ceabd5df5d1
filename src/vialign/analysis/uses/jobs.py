"""C at work as jobs of the workflow: noisy captions, curriculum in time, and few labelled images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from vialign.analysis.attribution.names import FROZEN
from vialign.analysis.attribution.replacements import Replacement, with_encoded
from vialign.analysis.attribution.running import Build, frozen_outcomes, replaced_outcomes
from vialign.analysis.uses.findings import labels_table, noise_table, order_table
from vialign.analysis.uses.names import conditions, labelled_name, labelled_title
from vialign.analysis.uses.running import noise_outcomes, order_outcomes
from vialign.disentangle.encoded import read_encoded
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.inputs import read_split
from vialign.methods.objective import Objective, SplitData
from vialign.methods.rates import searched_rate
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.uses import CURVES, USES

PARTS = ("texts", "image_features", "text_features", "encoded")


def use_noise(run: Run) -> None:
    """What each rule for noisy captions is worth."""
    config, method = run.config, run.params.method
    tried = conditions(config.uses.noise)
    build, data, common, _ = _prepared(run)
    outcomes = noise_outcomes(build, data, run.params.measured, config.training, tried, **common)
    table = noise_table(outcomes, method, tried, common["steps"], config.evaluation.level)
    write_table(table, USES, run.output[0], run.provenance)


def use_order(run: Run) -> None:
    """What an order of the captions is worth, and the learning curves behind it."""
    config, method = run.config, run.params.method
    build, data, common, _ = _prepared(run)
    outcomes, curves = order_outcomes(
        build, data, run.params.measured, config.training, checks=config.uses.checks, **common
    )
    table = order_table(outcomes, method, common["steps"], config.evaluation.level)
    write_table(table, USES, run.output.table, run.provenance)
    write_table(curves[list(CURVES.columns)], CURVES, run.output.curves, run.provenance)


def use_labels(run: Run) -> None:
    """What the boxes of fewer images cost, and what the method gains with each; an empty table where the data have
    none. Each training seed has a dictionary of its own, so the intervals hold how far dictionaries differ.
    """
    config, method, measured = run.config, run.params.method, run.params.measured
    counts = (*config.uses.labels, None)
    folders = dict(zip(config.training.seeds, map(Path, run.input.dictionaries), strict=True))
    if not all(any(folder.iterdir()) for folder in folders.values()):
        write_table(USES.empty(), USES, run.output[0], run.provenance)
        return
    build, data, common, frozen = _prepared(run)
    frames = [frozen_outcomes(frozen, data[measured], measured, config.uses.images)]
    for seed, folder in folders.items():
        tried = [
            Replacement(
                labelled_title(count),
                "labels",
                data=with_encoded(
                    {split: read_encoded(folder / f"{labelled_name(count)}_{split}.safetensors") for split in data}
                ),
            )
            for count in counts
        ]
        frames.append(replaced_outcomes(build, tried, data, measured, config.training, **common | {"seeds": (seed,)}))
    table = labels_table(pd.concat(frames, ignore_index=True), method, counts, common["steps"], config.evaluation.level)
    write_table(table, USES, run.output[0], run.provenance)


def _prepared(run: Run) -> tuple[Build, Mapping[str, SplitData], dict[str, Any], Objective]:
    """The method of the wildcard, its data, what all trainings of the job have in common, and the frozen backbone."""
    config, name = run.config, run.params.method
    backbone = open_backbone(name, config, run.input.train_image_features)
    calibration = read_calibration(run.input.calibration)
    build = partial(_built, name, config, backbone, calibration)
    data = {
        split: read_split(*(run.input[f"{split}_{part}"] for part in PARTS), needs=build(0).needs)
        for split in ("train", run.params.measured)
    }
    common = {
        "peak_rate": searched_rate(name, run.input.get("search"), config.training),
        "seeds": config.training.seeds,
        "steps": config.uses.steps or config.training.steps,
        "images": config.uses.images,
    }
    return build, data, common, build_method(FROZEN, config, backbone, calibration, 0)


def _built(name: str, config: Any, backbone: Any, calibration: Any, seed: int) -> CurriculumMethod:
    method = build_method(name, config, backbone, calibration, seed)
    assert isinstance(method, CurriculumMethod)
    return method
