"""The attribution of a run as jobs of the workflow: dictionaries, trainings, and what follows from them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vialign.analysis.attribution.dictionaries import encode_unboxed, encode_unfitted
from vialign.analysis.attribution.findings import attribution_table, carriers
from vialign.analysis.attribution.names import DECISIVE, SHIPPED
from vialign.analysis.attribution.replacements import Replacement, driver_replacements, local_replacements
from vialign.analysis.attribution.running import frozen_outcomes, replaced_outcomes
from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.disentangle.encoded import read_encoded, write_encoded
from vialign.disentangle.stage import read_visual
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table, write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.curriculum.method import CurriculumMethod
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.attribution import ATTRIBUTION, CARRIERS
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.language import TEXTS, UNITS
from vialign.training.job import search_rate_of

FILES = {"without boxes": "unboxed", "unfitted dictionary": "unfitted"}
"""What each of the dictionaries is called among the files."""


def encode_dictionaries(run: Run) -> None:
    """Every split as a dictionary without boxes, where there are any, and one of random atoms encode it."""
    config, splits = run.config, ("train", run.params.measured)
    images = {split: read_images(run.input[f"{split}_images"]) for split in splits}
    features = {split: read_texts(run.input[f"{split}_features"]) for split in splits}
    units = {split: read_table(run.input[f"{split}_units"], UNITS) for split in splits}
    objects = read_table(run.input.objects, OBJECTS)
    folder = Path(run.output[0])
    folder.mkdir(parents=True, exist_ok=True)
    phrases = {split: read_encoded(run.input[f"{split}_encoded"])[1] for split in splits}
    found = {"unfitted": encode_unfitted(images, phrases, config.visual, config.seed)}
    if objects["image_id"].isin(images["train"].ids).any():
        inputs = read_visual(
            load_backbone(config.backbone, config.seed),
            read_table(run.input.images, IMAGES),
            objects,
            image_folders(config.data, Path(run.input.images).parent),
            {"train": images["train"]},
            features["train"],
            config.visual.images,
        )
        texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in splits}
        parts = (config.visual, config.text)
        found["unboxed"] = encode_unboxed(
            inputs, images, texts, features, units, *parts, domain=config.name, seed=config.seed
        )
    for name, encoded in found.items():
        for split, pair in encoded.items():
            write_encoded(*pair, folder / f"{name}_{split}.safetensors", run.provenance)


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
            peak_rate=search_rate_of(name, run.input.get("search"), config.training),
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


def attribute(run: Run) -> None:
    """What every replacement costs, and what carries the gain."""
    config = run.config
    outcomes = {path: read_table(path, OUTCOMES) for path in run.input.outcomes}
    known = {name: "driver" for name in [r.name for r in driver_replacements(config.signal)]}
    tables = []
    for method in dict.fromkeys(Path(path).parent.name for path in outcomes):
        own = pd.concat(
            [frame for path, frame in outcomes.items() if Path(path).parent.name == method], ignore_index=True
        )
        parts = {name: known.get(name, "local") for name in own["method"].unique() if name not in (SHIPPED, "frozen")}
        tables.append(
            attribution_table(
                own,
                method,
                parts,
                config.attribution.steps or config.training.early_steps,
                level=config.evaluation.level,
            )
        )
    table = ATTRIBUTION.check(pd.concat(tables, ignore_index=True))
    write_table(table, ATTRIBUTION, run.output.attribution, run.provenance)
    write_table(carriers(table, config.evaluation.level), CARRIERS, run.output.carriers, run.provenance)
