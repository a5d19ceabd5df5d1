"""The visual stage from published files on disk: Visual Genome's five JSON documents and drawn photographs."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unit.data.visual_genome_folder import URL, write
from vialign.backbone import load_backbone
from vialign.config.data import BackboneConfig, DataConfig
from vialign.config.disentangle import VisualConfig
from vialign.data.folders import image_folders
from vialign.data.registry import read_dataset
from vialign.disentangle import visual_quality
from vialign.disentangle.boxes import told_boxes
from vialign.disentangle.stage import fit_and_measure_visual, read_visual
from vialign.features import extract_images, extract_texts, read_images, read_texts

WIDTH, HEIGHT = 140, 112
COLOURS = {"lamp": (230, 30, 30), "sign": (30, 200, 40), "ball": (40, 60, 230)}
SIZES = {"selection": 20, "gate": 1, "test": 1, "confirmation": 1, "calibration": 1, "diagnosis": 1, "train": 37}
CONFIG = VisualConfig(atoms=8, background=4, prototypes=4, steps=60, batch=24, adapter_rank=4)


def draw_visual_genome(root):
    """Photographs of grey noise with one lamp, sign or ball in each half, in the layout of version 1.4."""
    rng = np.random.default_rng(5)
    files = {name: [] for name in ("image_data", "objects", "attributes", "relationships", "region_descriptions")}
    (root / "VG_100K").mkdir()
    for number in range(1, sum(SIZES.values()) + 1):
        pixels = np.repeat(rng.integers(90, 170, (HEIGHT, WIDTH, 1), dtype=np.uint8), 3, axis=2)
        things = []
        for half, name in enumerate(rng.choice(list(COLOURS), 2, replace=False)):
            width, height = rng.integers(32, 48, 2)
            x, y = 14 + half * 56 + rng.integers(0, 56 - width), rng.integers(0, HEIGHT - height)
            pixels[y : y + height, x : x + width] = COLOURS[name]
            box = {"x": int(x), "y": int(y), "w": int(width), "h": int(height)}
            things.append({"object_id": 10 * number + half, "names": [str(name)], "synsets": [], **box})
        Image.fromarray(pixels).save(root / "VG_100K" / f"{number}.jpg", quality=95)
        link = URL.format(number)
        said = {"relationship_id": number, "predicate": "left of", "synsets": []}
        ends = [{**thing, "name": thing["names"][0]} for thing in things]
        region = {"region_id": number, "image_id": number, "x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}
        phrase = f"a {things[0]['names'][0]} left of a {things[1]['names'][0]}"
        sizes = {"width": WIDTH, "height": HEIGHT, "coco_id": None, "flickr_id": None}
        files["image_data"].append({"image_id": number, "url": link, **sizes})
        files["objects"].append({"image_id": number, "image_url": link, "objects": things})
        files["attributes"].append({"image_id": number, "attributes": things})
        relation = {**said, "subject": ends[0], "object": ends[1]}
        files["relationships"].append({"image_id": number, "relationships": [relation]})
        files["region_descriptions"].append({"id": number, "regions": [{**region, "phrase": phrase}]})
    return write(root, files)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder read by the registry's reader and encoded by a random backbone: what the stage is given."""
    root = tmp_path_factory.mktemp("visual_genome")
    config = DataConfig(dataset="visual_genome", folder=str(draw_visual_genome(root)), sizes=SIZES, strict=True)
    tables = read_dataset(config, 0, root / "data")
    backbone = load_backbone(BackboneConfig(checkpoint=None), seed=1)
    folders = image_folders(config, root / "data")
    options = {"batch": 32, "shard": 64, "provenance": {}}
    for split in ("train", "selection"):
        images = tables.images[tables.images["split"] == split]
        extract_images(backbone, images, folders, root / split, "early", pixels="decode", **options)
    texts = tables.captions.rename(columns={"caption_id": "text_id"})
    extract_texts(backbone, texts, root / "texts", **options)
    features = {split: read_images(root / split) for split in ("train", "selection")}
    return backbone, tables.images, tables.objects, folders, features, read_texts(root / "texts")


@pytest.fixture(scope="module")
def inputs(world):
    return read_visual(*world, CONFIG.model_copy(update={"images": 30}), 0)


EIGHT = CONFIG.model_copy(update={"images": 8})


def rows(frame, subject):
    return frame[frame["subject"] == subject].set_index("measure")


@pytest.fixture(scope="module")
def fitted(inputs):
    return fit_and_measure_visual(inputs, CONFIG, domain="visual_genome", seed=0)


def test_visual_genome_runs_through_the_stage_unchanged(fitted):
    """Purity IoU of every class comes out, and planted objects are found better than by random atoms."""
    visual, measured, log = fitted
    quality = measured.frame()
    assert {f"iou {name}" for name in (*COLOURS, "mean")} <= set(rows(quality, "dictionary").index)
    assert set(quality["subject"]) == {"dictionary", "random atoms", "k-means", "attention", "ceiling"}
    found, floor, ceiling = (rows(quality, name).loc["iou mean"] for name in ("dictionary", "random atoms", "ceiling"))
    assert found["low"] > floor["high"] and found["value"] > 0.5 * ceiling["value"]
    assert found["count"] == 20
    assert {f"stability {move} iou" for move in ("flip", "shift", "crop")} <= set(quality["measure"])
    assert visual.grid == (7, 7) and log["purity"].notna().all()


def test_boxes_dealt_to_other_images_are_not_found(inputs, fitted):
    """The negative control: the same dictionary, measured with boxes of others."""
    visual, measured, _ = fitted
    boxes, images = inputs.boxes["selection"], inputs.images["selection"]
    other = dict(zip(images["image_id"], np.roll(images["image_id"], 3), strict=True))
    wrong = boxes.assign(image_id=boxes["image_id"].map(other))
    lost = visual_quality(visual, inputs.patches["selection"], images, wrong, "visual_genome", 0).frame()
    found = rows(measured.frame(), "dictionary").loc["iou mean"]
    assert rows(lost, "dictionary").loc["iou mean", "high"] < found["low"]


def test_without_boxes_the_captions_of_the_images_take_their_place(world):
    backbone, images, objects, folders, features, texts = world
    inputs = read_visual(backbone, images, objects.iloc[:0], folders, features, texts, EIGHT, 0)
    assert inputs.captions is not None and inputs.captions.shape[:2] == (8, 5)
    _, measured, log = fit_and_measure_visual(
        inputs, CONFIG.model_copy(update={"steps": 2}), domain="photographs", seed=0
    )
    assert log["caption"].notna().all() and log["purity"].isna().all()
    assert "iou mean" not in set(measured.frame()["measure"])


def test_an_image_that_is_fitted_on_is_never_measured(world):
    backbone, images, objects, folders, features, texts = world
    with pytest.raises(ValueError, match="would be both fitted and measured"):
        read_visual(backbone, images, objects, folders, features | {"selection": features["train"]}, texts, EIGHT, 0)


def test_no_more_images_are_read_than_asked_for(inputs):
    assert {split: len(frame) for split, frame in inputs.images.items()} == {"train": 30, "selection": 20}
    assert {split: set(moved) for split, moved in inputs.moved.items()} == {
        "train": {"flip", "shift"}, "selection": {"flip", "shift", "crop"},
    }  # fmt: skip
    assert inputs.attention is not None and inputs.attention.shape == (20, 5, 49)
    assert set(pd.concat(inputs.boxes.values())["name"]) == set(COLOURS)


def test_the_fit_is_told_the_boxes_of_as_many_images_as_asked_for(world, inputs):
    """Those of `selection`, on which the dictionary is measured, stay; fewer are some of more; None is all."""
    few, fewer = (
        read_visual(*world, CONFIG.model_copy(update={"images": 30, "labelled": count}), 0).boxes for count in (7, 3)
    )
    told = [set(boxes["train"]["image_id"]) for boxes in (fewer, few, inputs.boxes)]
    assert [len(ids) for ids in told] == [3, 7, 30] and told[0] < told[1] < told[2]
    assert few["selection"].equals(inputs.boxes["selection"])
    kept = inputs.boxes["train"][inputs.boxes["train"]["image_id"].isin(told[1])]
    assert few["train"].equals(kept)
    assert set(told_boxes(inputs.boxes["train"], 7, 1)["image_id"]) != told[1]
