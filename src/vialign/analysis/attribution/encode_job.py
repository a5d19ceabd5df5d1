"""Dictionaries that were not fitted as shipped, as jobs of the workflow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vialign.analysis.attribution.dictionaries import (
    Material,
    encode_labelled,
    encode_true_boxes,
    encode_unfitted,
)
from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.disentangle import load_visual
from vialign.disentangle.encoded import read_encoded, write_encoded
from vialign.disentangle.stage import read_visual
from vialign.disentangle.types import Phrases, Prototypes, in_blocks
from vialign.features import ImageFeatures, TextFeatures, read_images, read_texts
from vialign.files.artifacts import read_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.language import TEXTS, UNITS


@dataclass(frozen=True)
class Stores:
    """The features of every split that is encoded."""

    images: dict[str, ImageFeatures]
    texts: dict[str, TextFeatures]


def encode_dictionaries(run: Run) -> None:
    """Every split as a dictionary without boxes, where there are any, and one of random atoms encode it, and with its
    labelled boxes in the place of what a dictionary finds, where every image has some.
    """
    stores = read_stores(run)
    phrases = {split: read_encoded(run.input[f"{split}_encoded"])[1] for split in stores.images}
    fitted = load_visual(run.input.visual)
    found = {"unfitted": encode_unfitted(stores.images, phrases, fitted, run.config.seed)}
    objects = read_table(run.input.objects, OBJECTS)
    if all(set(store.ids) <= set(objects["image_id"]) for store in stores.images.values()):
        mode = load_backbone(run.config.backbone, run.config.seed).resize_mode
        frame = read_table(run.input.images, IMAGES)
        found["true"] = encode_true_boxes(stores.images, phrases, fitted, frame, objects, mode)
    if any_labelled(run):
        config, material = run.config, read_material(run, stores, run.input.train_images)
        found["unboxed"] = encode_labelled(
            0, material, config.visual, config.text, domain=config.name, seed=config.seed
        )
    write_each(run, {f"{name}_{split}": pair for name, encoded in found.items() for split, pair in encoded.items()})


def read_stores(run: Run) -> Stores:
    """The features of the training images and of those that the job measures on."""
    splits = ("train", run.params.measured)
    return Stores(
        {split: read_images(run.input[f"{split}_images"]) for split in splits},
        {split: read_texts(run.input[f"{split}_features"]) for split in splits},
    )


def any_labelled(run: Run) -> bool:
    """Whether an image that the dictionary is fitted on has a labelled box."""
    objects = read_table(run.input.objects, OBJECTS)
    return bool(objects["image_id"].isin(read_images(run.input.fitted).ids).any())


def read_material(run: Run, stores: Stores, images: str) -> Material:
    """What dictionaries are fitted on, with all labelled boxes: the store `images`, which is `fitted`, or
    `train_images` for a dictionary without boxes. That one is fitted on captions, so it sees the training images,
    wherever the boxes are from.
    """
    config, splits = run.config, tuple(stores.images)
    inputs = read_visual(
        load_backbone(config.backbone, config.seed),
        read_table(run.input.images, IMAGES),
        read_table(run.input.objects, OBJECTS),
        image_folders(config.data, Path(run.input.images).parent),
        {"train": read_images(images)},
        stores.texts["train"],
        config.visual.model_copy(update={"labelled": None}),
        config.seed,
    )
    texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in splits}
    units = {split: read_table(run.input[f"{split}_units"], UNITS) for split in splits}
    return Material(inputs, stores.images, texts, stores.texts, units)


def write_each(run: Run, encoded: Mapping[str, tuple[Prototypes, Phrases]]) -> None:
    """Each under its name, in the folder that is the job's output."""
    folder = Path(run.output[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (prototypes, phrases) in encoded.items():
        counts, path = (len(prototypes), len(phrases)), folder / f"{name}.safetensors"
        write_encoded(in_blocks(prototypes), in_blocks(phrases), counts, path, run.provenance)
