"""Dictionaries that were not fitted as shipped, as a job of the workflow."""

from pathlib import Path

from vialign.analysis.attribution.dictionaries import encode_unboxed, encode_unfitted
from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.disentangle import load_visual
from vialign.disentangle.encoded import read_encoded, write_encoded
from vialign.disentangle.stage import read_visual
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.language import TEXTS, UNITS


def encode_dictionaries(run: Run) -> None:
    """Every split as a dictionary without boxes, where there are any, and one of random atoms encode it."""
    config, splits = run.config, ("train", run.params.measured)
    images = {split: read_images(run.input[f"{split}_images"]) for split in splits}
    features = {split: read_texts(run.input[f"{split}_features"]) for split in splits}
    units = {split: read_table(run.input[f"{split}_units"], UNITS) for split in splits}
    objects = read_table(run.input.objects, OBJECTS)
    folder = Path(run.output[0])
    folder.mkdir(parents=True, exist_ok=True)
    phrases = {split: read_encoded(run.input[f"{split}_encoded"])[1].index(slice(None)) for split in splits}
    found = {"unfitted": encode_unfitted(images, phrases, load_visual(run.input.visual), config.seed)}
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
