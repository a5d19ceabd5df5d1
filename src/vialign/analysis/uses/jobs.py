"""C at work as jobs of the workflow: noisy captions, curriculum in time, and few labelled images."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vialign.analysis.attribution.names import SHIPPED
from vialign.analysis.attribution.replacements import Replacement, with_encoded
from vialign.analysis.attribution.running import Build, replaced_outcomes
from vialign.analysis.uses.findings import labels_table, noise_table, order_table
from vialign.analysis.uses.names import conditions
from vialign.analysis.uses.running import noise_outcomes, order_outcomes
from vialign.disentangle.encoded import read_encoded
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.inputs import read_split
from vialign.methods.objective import SplitData
from vialign.methods.rates import searched_rate
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.uses import CURVES, USES

PARTS = ("texts", "image_features", "text_features", "encoded")


def use_noise(run: Run) -> None:
    """What each rule for noisy captions is worth."""
    config, method = run.config, run.params.method
    tried = conditions(config.uses.noise)
    build, data, common = _prepared(run)
    outcomes = noise_outcomes(build, data, run.params.measured, config.training, tried, **common)
    table = noise_table(outcomes, method, tried, common["steps"], config.evaluation.level)
    write_table(table, USES, run.output[0], run.provenance)


def use_order(run: Run) -> None:
    """What an order of the captions is worth, and the learning curves behind it."""
    config, method = run.config, run.params.method
    build, data, common = _prepared(run)
    outcomes, curves = order_outcomes(
        build, data, run.params.measured, config.training, checks=config.uses.checks, **common
    )
    table = order_table(outcomes, method, common["steps"], config.evaluation.level)
    write_table(table, USES, run.output.table, run.provenance)
    write_table(curves[list(CURVES.columns)], CURVES, run.output.curves, run.provenance)


def use_labels(run: Run) -> None:
    """What a dictionary of fewer labelled images costs; an empty table where the data have none."""
    config, method, measured = run.config, run.params.method, run.params.measured
    found = {
        count: {split: Path(run.input.dictionaries) / f"{count}_{split}.safetensors" for split in ("train", measured)}
        for count in config.uses.labels
    }
    there = {count: files for count, files in found.items() if files["train"].is_file()}
    if not there:
        write_table(USES.empty(), USES, run.output[0], run.provenance)
        return
    build, data, common = _prepared(run)
    tried = [Replacement(SHIPPED, "whole")] + [
        Replacement(_named(count), "labels", data=with_encoded({s: read_encoded(f) for s, f in files.items()}))
        for count, files in there.items()
    ]
    outcomes = replaced_outcomes(build, tried, data, measured, config.training, **common)
    table = labels_table(outcomes, method, map(_named, there), common["steps"], config.evaluation.level)
    write_table(table, USES, run.output[0], run.provenance)


def _named(count: int) -> str:
    return f"{count} labelled images"


def _prepared(run: Run) -> tuple[Build, Mapping[str, SplitData], dict[str, Any]]:
    """The method of the wildcard, its data, and what all trainings of the job have in common."""
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
    return build, data, common


def _built(name: str, config: Any, backbone: Any, calibration: Any, seed: int) -> CurriculumMethod:
    method = build_method(name, config, backbone, calibration, seed)
    assert isinstance(method, CurriculumMethod)
    return method
