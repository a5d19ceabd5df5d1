"""Trainings with one part replaced, as a job of the workflow."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vialign.analysis.attribution.names import DECISIVE, SHIPPED
from vialign.analysis.attribution.replacements import Replacement, driver_replacements, local_replacements
from vialign.analysis.attribution.running import frozen_outcomes, replaced_outcomes
from vialign.disentangle.encoded import read_encoded
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.inputs import read_split
from vialign.methods.rates import searched_rate
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.evaluation import OUTCOMES

FILES = {"without boxes": "unboxed", "unfitted dictionary": "unfitted", "ground-truth boxes": "true"}
"""What each of the dictionaries is called among the files."""


def train_replaced(run: Run) -> None:
    """One method trained again with everything of one part replaced."""
    config, name, measured = run.config, run.wildcards.method, run.params.measured
    backbone = open_backbone(name, config, run.input.train_image_features)
    calibration = read_calibration(run.input.calibration)
    names = ("texts", "image_features", "text_features", "encoded")
    probe = build_method(name, config, backbone, calibration, 0)
    data = {
        split: read_split(*(run.input[f"{split}_{part}"] for part in names), needs=probe.needs)
        for split in ("train", measured)
    }

    def build(seed: int) -> CurriculumMethod:
        method = build_method(name, config, backbone, calibration, seed)
        assert isinstance(method, CurriculumMethod)
        return method

    settings, seeds = config.attribution, config.training.seeds
    frames = [
        replaced_outcomes(
            build,
            replacements_of(run.wildcards.part, run.input.dictionaries, data, run),
            data,
            measured,
            config.training,
            peak_rate=searched_rate(name, run.input.get("search"), config.training),
            seeds=seeds,
            steps=settings.steps or config.training.early_steps,
            images=settings.images,
        )
    ]
    if run.wildcards.part == "whole":
        frozen = build_method("frozen", config, backbone, calibration, 0)
        frames.append(frozen_outcomes(frozen, data[measured], measured, settings.images))
    write_table(pd.concat(frames, ignore_index=True), OUTCOMES, run.output[0], run.provenance)


def replacements_of(part: str, folder: str, data: Mapping[str, object], run: Run) -> list[Replacement]:
    """What a part of the attribution trains: everything of the driver or of the local part, the method as shipped, or
    what decides the claims about the full model.
    """
    encoded = {
        name: {split: read_encoded(Path(folder) / f"{file}_{split}.safetensors") for split in data}
        for name, file in FILES.items()
        if (Path(folder) / f"{file}_train.safetensors").is_file()
    }
    everything = [
        *driver_replacements(run.config.signal),
        *local_replacements(encoded, run.config.seed),
    ]
    if part == "whole":
        return [Replacement(SHIPPED, "whole")]
    if part == "decisive":
        return [replacement for replacement in everything if replacement.name in DECISIVE]
    return [replacement for replacement in everything if replacement.part == part]
