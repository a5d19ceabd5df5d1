"""Dictionaries that were not fitted as shipped, as jobs of the workflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vialign.analysis.attribution.dictionaries import (
    Encoded,
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
class _Stores:
    """The features of every split that is encoded."""

    images: dict[str, ImageFeatures]
    texts: dict[str, TextFeatures]


def encode_dictionaries(run: Run) -> None:
    """Every split as a dictionary without boxes, where there are any, and one of random atoms encode it, and with its
    labelled boxes in the place of what a dictionary finds, where every image has some.
    """
    stores = _stores(run)
    phrases = {split: read_encoded(run.input[f"{split}_encoded"])[1] for split in stores.images}
    fitted = load_visual(run.input.visual)
    found = {"unfitted": encode_unfitted(stores.images, phrases, fitted, run.config.seed)}
    objects = read_table(run.input.objects, OBJECTS)
    if all(set(store.ids) <= set(objects["image_id"]) for store in stores.images.values()):
        mode = load_backbone(run.config.backbone, run.config.seed).resize_mode
        frame = read_table(run.input.images, IMAGES)
        found["true"] = encode_true_boxes(stores.images, phrases, fitted, frame, objects, mode)
    unboxed = _labelled(run, stores, [0])
    found |= {"unboxed": unboxed[0]} if unboxed else {}
    _write(run, {f"{name}_{split}": pair for name, encoded in found.items() for split, pair in encoded.items()})


def encode_few_labels(run: Run) -> None:
    """Every split as dictionaries of fewer labelled images encode it; none where the data have no boxes."""
    found = _labelled(run, _stores(run), run.config.uses.labels)
    _write(run, {f"{count}_{split}": pair for count, encoded in found.items() for split, pair in encoded.items()})


def _stores(run: Run) -> _Stores:
    splits = ("train", run.params.measured)
    return _Stores(
        {split: read_images(run.input[f"{split}_images"]) for split in splits},
        {split: read_texts(run.input[f"{split}_features"]) for split in splits},
    )


def _labelled(run: Run, stores: _Stores, counts: Sequence[int]) -> dict[int, Encoded]:
    """By each number of labelled images; nothing where no training image has a box."""
    config, splits = run.config, tuple(stores.images)
    objects = read_table(run.input.objects, OBJECTS)
    if not objects["image_id"].isin(stores.images["train"].ids).any():
        return {}
    inputs = read_visual(
        load_backbone(config.backbone, config.seed),
        read_table(run.input.images, IMAGES),
        objects,
        image_folders(config.data, Path(run.input.images).parent),
        {"train": stores.images["train"]},
        stores.texts["train"],
        config.visual.images,
    )
    texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in splits}
    units = {split: read_table(run.input[f"{split}_units"], UNITS) for split in splits}
    parts = (inputs, stores.images, texts, stores.texts, units, config.visual, config.text)
    return {count: encode_labelled(count, *parts, domain=config.name, seed=config.seed) for count in counts}


def _write(run: Run, encoded: Mapping[str, tuple[Prototypes, Phrases]]) -> None:
    folder = Path(run.output[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (prototypes, phrases) in encoded.items():
        counts, path = (len(prototypes), len(phrases)), folder / f"{name}.safetensors"
        write_encoded(in_blocks(prototypes), in_blocks(phrases), counts, path, run.provenance)
