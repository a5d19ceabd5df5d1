"""Regions of a split, from labelled boxes against a loop over pixels' worth of overlap, and from files as published."""

import base64
import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tolerance import close
from vialign.config.data import DataConfig
from vialign.data.base import image_table
from vialign.errors import UserError
from vialign.features.regions import drawn_regions, feature_width, make_regions, read_regions
from vialign.features.store import StoreWriter, read_images
from vialign.tables.data import OBJECTS

CORNERS = close(torch.float32, 4)
"""Corners of boxes, relative to their picture."""

GRID, DIMENSION = (3, 4), 5


class SpeakingBackbone:
    """Embeds a text as a unit vector that tells its length, so that what was said can be heard."""

    dimension, resize_mode, contract = DIMENSION, "shortest", {"architecture": "speaking"}
    device = torch.device("cpu")

    def tokenize(self, texts):
        return SimpleNamespace(ids=torch.tensor([[len(text)] for text in texts]))

    def encode_text(self, ids):
        return said(ids[:, 0])


def said(lengths):
    angles = lengths.float()[:, None] / 40
    return torch.cat([angles.cos(), angles.sin(), torch.zeros(len(lengths), DIMENSION - 2)], dim=1)


def tag(label):
    return said(torch.tensor([len(label)]))[0].half().numpy()


@pytest.fixture
def images():
    rows = [("a", "train", "a.png", 80, 60), ("b", "train", "b.png", 60, 120), ("c", "train", "c.png", 50, 50)]
    return image_table(rows)


def store(folder, names):
    writer = StoreWriter(folder, {"kind": "images", "dimension": str(DIMENSION), "grid": "3,4", "readout": "final"})
    rng = np.random.default_rng(0)
    layout = {"pooled": (np.float32, (DIMENSION,)), "patches": (np.float16, (12, DIMENSION))}
    with writer.shard(names, layout) as file:
        patches = rng.normal(size=(len(names), 12, DIMENSION)).astype(np.float16)
        file.append(len(names), pooled=np.zeros((len(names), DIMENSION), np.float32), patches=patches)
    writer.close()
    return read_images(folder)


@pytest.fixture
def features(tmp_path):
    """In another order than the table."""
    return store(tmp_path / "store", ["c", "a", "b"])


def objects(*rows):
    names = ["image_id", "name", "x", "y", "width", "height", "attributes"]
    frame = pd.DataFrame(rows, columns=names)
    frame.insert(0, "object_id", [f"{row}" for row in range(len(frame))])
    return frame


BOXED = objects(
    ("a", "dog", 10.0, 0.0, 30.0, 60.0, ["red", "big"]),
    ("a", "cat", 12.0, 3.0, 5.0, 7.0, []),
    ("a", "edge", 0.0, 0.0, 8.0, 60.0, []),  # outside of the crop, which is x from 10 to 70
    ("b", "bird", 3.5, 31.0, 41.0, 77.0, []),
    ("elsewhere", "fox", 0.0, 0.0, 5.0, 5.0, []),
)
SIZES = {"a": (80, 60), "b": (60, 120), "c": (50, 50)}


def looped(features, image, box, fine=60):
    """Mean of the patch under every point of a fine raster of the crop that lies in the box."""
    width, height = SIZES[image]
    side = min(width, height)
    patches = features.patches(0, 3)[features.ids.index(image)].double().reshape(*GRID, DIMENSION)
    total, count = torch.zeros(DIMENSION, dtype=torch.float64), 0
    for row in range(GRID[0] * fine):
        y = (row + 0.5) / (GRID[0] * fine) * side + (height - side) / 2
        if not box[1] <= y < box[1] + box[3]:
            continue
        for column in range(GRID[1] * fine):
            x = (column + 0.5) / (GRID[1] * fine) * side + (width - side) / 2
            if box[0] <= x < box[0] + box[2]:
                total += patches[row // fine, column // fine]
                count += 1
    return total / count


def make(images, frame, features, output, **config):
    make_regions(DataConfig(**config), images, frame, features, SpeakingBackbone(), output, {"rule": "regions"})
    return read_regions(output, features.ids)


def test_a_labelled_box_is_the_mean_of_its_patches_by_overlap(images, features, tmp_path):
    found = make(images, BOXED, features, tmp_path / "r.safetensors")
    assert found.features.dtype == found.tags.dtype == torch.half
    assert found.present.tolist() == [[False, False], [True, True], [True, False]]
    boxes = BOXED.set_index("name")[["x", "y", "width", "height"]]
    cases = ("a", 0, "dog", "a red dog"), ("a", 1, "cat", "a cat"), ("b", 0, "bird", "a bird")
    for image, slot, name, label in cases:
        row = features.ids.index(image)
        expected = looped(features, image, boxes.loc[name].tolist())
        torch.testing.assert_close(found.features[row, slot].double(), expected, atol=0.02, rtol=0)
        np.testing.assert_array_equal(found.tags[row, slot].numpy(), tag(label))
    # By hand: the crop of `a` is x from 10 to 70, that of `b` y from 30 to 90.
    np.testing.assert_allclose(found.boxes[1, 0], [0, 0, 0.5, 1], atol=CORNERS)
    np.testing.assert_allclose(found.boxes[2, 0], [3.5 / 60, 1 / 60, 44.5 / 60, 1], atol=CORNERS)
    hidden = ~found.present
    assert not found.features[hidden].any() and not found.boxes[hidden].any() and not found.tags[hidden].any()
    assert set(found.tags[found.present].float().norm(dim=-1).round(decimals=2).tolist()) == {1.0}


def test_the_largest_boxes_are_kept_and_the_positions_follow(images, features, tmp_path):
    every = make(images, BOXED, features, tmp_path / "all.safetensors")
    one = make(images, BOXED, features, tmp_path / "one.safetensors", region_limit=1)
    assert one.features.shape == (3, 1, DIMENSION)
    assert torch.equal(one.features, every.features[:, :1]) and torch.equal(one.present, every.present[:, :1])
    part = every.index(torch.tensor([2, 0]))
    assert torch.equal(part.boxes, every.boxes[[2, 0]]) and part.present.tolist() == [[True, False], [False, False]]


def test_boxes_of_a_part_of_a_picture_move_with_it(images, features, tmp_path):
    cropped = images.copy()
    cropped["crop"] = [[20.0, 10.0, 80.0, 60.0], [], []]
    moved = BOXED.assign(x=BOXED["x"] + 20 * (BOXED["image_id"] == "a"), y=BOXED["y"] + 10 * (BOXED["image_id"] == "a"))
    whole = make(images, BOXED, features, tmp_path / "whole.safetensors")
    part = make(cropped, moved, features, tmp_path / "part.safetensors")
    torch.testing.assert_close(part.boxes, whole.boxes)
    torch.testing.assert_close(part.features, whole.features)


def test_a_split_without_boxes_says_what_to_set(images, features, tmp_path):
    message = r"data.regions: is not set, and split 'train' has no labelled boxes; set it"
    with pytest.raises(UserError, match=message) as stopped:
        make(images, OBJECTS.empty(), features, tmp_path / "r.safetensors")
    assert "leave methods that read regions out of training.methods and training.compare" in str(
        stopped.value
    ) and "\n" not in str(stopped.value)
    assert not (tmp_path / "r.safetensors").exists()


def encode(array):
    return base64.b64encode(np.asarray(array, dtype=np.float32).tobytes()).decode()


def detections(number, width=6, regions=2):
    rng = np.random.default_rng(number)
    corners = np.sort(rng.uniform(0, 40, (regions, 2, 2)), axis=1).reshape(regions, 4) + [0, 0, 5, 5]
    return corners.astype(np.float32), rng.normal(size=(regions, width)).astype(np.float32)


def bottom_up(path, names, **options):
    lines = []
    for number, name in enumerate(names):
        boxes, vectors = detections(number, **options)
        lines.append(f"{name}\t50\t50\t{len(boxes)}\t{encode(boxes)}\t{encode(vectors)}\n")
    path.write_text("".join(lines))
    return str(path)


def vinvl(folder, names, labels=("dog", "owl")):
    rows, predictions = [], []
    for number, name in enumerate(names):
        boxes, vectors = detections(number)
        rows.append(f"{name}\t2\t{encode(vectors)}\n")
        found = [{"class": said, "rect": [float(n) for n in box]} for said, box in zip(labels, boxes, strict=True)]
        predictions.append(f"{name}\t{json.dumps({'image_w': 50, 'image_h': 50, 'objects': found})}\n")
    (folder / "features.tsv").write_text("".join(rows))
    (folder / "predictions.tsv").write_text("".join(predictions[::-1]))
    return str(folder / "features.tsv")


def npz(folder, names):
    for number, name in enumerate(names):
        boxes, vectors = detections(number)
        np.savez(folder / f"{name}.npz", bbox=boxes, x=vectors, image_w=50, image_h=50)
    return str(folder)


FORMS = {
    "bottom-up": lambda folder: bottom_up(folder / "train.tsv", ["a", "b", "c"]),
    "vinvl": lambda folder: vinvl(folder, ["a", "b", "c"]),
    "npz": lambda folder: npz(folder, ["a", "b", "c"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_detectors_file_is_read_as_published(form, images, features, tmp_path):
    (tmp_path / "detector").mkdir()
    path = FORMS[form](tmp_path / "detector")
    config = {"regions": path, "region_width": 6, "region_limit": 3}
    found = make(images, BOXED, features, tmp_path / "r.safetensors", **config)
    assert found.features.shape == (3, 3, 6) and found.present.tolist() == [[True, True, False]] * 3
    for row, name in enumerate(features.ids):
        boxes, vectors = detections("abc".index(name))
        np.testing.assert_allclose(found.boxes[row, :2], boxes / 50, atol=CORNERS)
        np.testing.assert_array_equal(found.features[row, :2], vectors.astype(np.float16))
        expected = np.array([tag("a dog"), tag("an owl")]) if form == "vinvl" else np.zeros((2, DIMENSION))
        np.testing.assert_array_equal(found.tags[row, :2], expected)
    fewer = make(images, BOXED, features, tmp_path / "few.safetensors", **config | {"region_limit": 1})
    assert torch.equal(fewer.features, found.features[:, :1])
    assert feature_width(DataConfig(**config), DIMENSION) == 6 and feature_width(DataConfig(), DIMENSION) == DIMENSION


def test_a_file_may_call_an_image_by_its_picture_or_by_its_number(images, features, tmp_path):
    renamed = images.assign(path=["x/COCO_val2014_000000000042.jpg", "plain.png", "c.png"])
    path = bottom_up(tmp_path / "train.tsv", ["42", "plain", "c"])
    found = make(renamed, BOXED, features, tmp_path / "r.safetensors", regions=path, region_width=6)
    for row, number in enumerate((2, 0, 1)):
        np.testing.assert_array_equal(found.features[row, :2], detections(number)[1].astype(np.float16))


def test_only_what_lies_in_the_seen_part_of_a_picture_is_kept(images, features, tmp_path):
    cropped = images.assign(crop=[[10.0, 20.0, 20.0, 10.0], [], []])
    boxes = np.array([[0, 0, 9, 19], [0, 0, 20, 25], [12, 22, 100, 24]])
    lines = [f"{name}\t200\t200\t3\t{encode(boxes)}\t{encode(np.eye(3, 6))}\n" for name in "abc"]
    (tmp_path / "train.tsv").write_text("".join(lines))
    config = {"regions": str(tmp_path / "train.tsv"), "region_width": 6}
    found = make(cropped, BOXED, features, tmp_path / "r.safetensors", **config)
    row = features.ids.index("a")
    assert found.present[row].sum() == 2
    np.testing.assert_allclose(found.boxes[row, :2], [[0, 0, 0.5, 0.5], [0.1, 0.2, 1, 0.4]], atol=CORNERS)
    np.testing.assert_array_equal(found.features[row, :2], np.eye(3, 6)[1:])
    assert (found.present.sum(dim=1) == torch.tensor([3, 2, 3])).all()


def test_a_benchmark_has_a_file_of_its_own(images, features, tmp_path):
    benchmark = images.assign(source="winoground", split="winoground")
    own = bottom_up(tmp_path / "own.tsv", ["a", "b", "c"])
    other = bottom_up(tmp_path / "other.tsv", ["a"])
    place = {"winoground": {"folder": "w", "regions": own}}
    config = {"regions": other, "region_width": 6, "benchmarks": place}
    assert make(benchmark, BOXED, features, tmp_path / "r.safetensors", **config).present.any(dim=1).all()
    config["benchmarks"] = {"winoground": {"folder": "w"}}
    with pytest.raises(UserError, match="data.benchmarks.winoground.regions: is not set, but data.regions is"):
        make(benchmark, BOXED, features, tmp_path / "r.safetensors", **config)
    with pytest.raises(ValueError, match="data.regions must be set too"):
        DataConfig(benchmarks=place)


WRONG = {
    "missing": (["a", "c"], {}, r"train.tsv: has no regions of image b \(looked for b\); data.regions must have all"),
    "width": ("abc", {"width": 7}, "train.tsv: image c: its features have 7 numbers; set data.region_width to that"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_line(case, images, features, tmp_path):
    names, options, message = WRONG[case]
    path = bottom_up(tmp_path / "train.tsv", names, **options)
    with pytest.raises(UserError, match=message) as stopped:
        make(images, BOXED, features, tmp_path / "r.safetensors", regions=path, region_width=6)
    assert "\n" not in str(stopped.value) and not (tmp_path / "r.safetensors").exists()


def test_a_feature_beyond_half_precision_is_refused(images, features, tmp_path):
    boxes, vectors = detections(0)
    line = f"\t50\t50\t2\t{encode(boxes)}\t{encode(vectors * 1e6)}\n"
    (tmp_path / "train.tsv").write_text("".join(name + line for name in "abc"))
    with pytest.raises(UserError, match="image c: has a feature beyond 65504; scale the features down"):
        make(images, BOXED, features, tmp_path / "r", regions=str(tmp_path / "train.tsv"), region_width=6)


def test_regions_of_other_images_are_refused(images, features, tmp_path):
    make(images, BOXED, features, tmp_path / "r.safetensors")
    assert read_regions(tmp_path / "r.safetensors", ["c", "a", "b"]).present.any()
    with pytest.raises(UserError, match="holds the regions of other images than the features; delete it"):
        read_regions(tmp_path / "r.safetensors", ["a", "b", "c"])


def test_a_file_is_never_held_whole(tmp_path):
    """Memory is that of a few images, however many there are."""
    names = [f"i{number}" for number in range(150)]
    images = image_table([(name, "train", f"{name}.png", 50, 50) for name in names])
    path = bottom_up(tmp_path / "train.tsv", names, width=512, regions=30)
    config = DataConfig(regions=path, region_width=512, region_limit=30)
    row = (tmp_path / "train.tsv").stat().st_size / len(names)
    found = store(tmp_path / "store", names)
    make_regions(config, images, BOXED, found, SpeakingBackbone(), tmp_path / "warm", {})
    tracemalloc.start()
    try:
        make_regions(config, images, BOXED, found, SpeakingBackbone(), tmp_path / "r", {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 15 * row < (tmp_path / "r").stat().st_size / 3


def test_drawn_regions_have_the_configs_sizes():
    config = DataConfig(regions="x.tsv", region_width=9, region_limit=4)
    found = drawn_regions(3, config, DIMENSION, 0)
    assert found.features.shape == (3, 4, 9) and found.tags.shape == (3, 4, DIMENSION) and found.present.all()
    assert (found.boxes[..., :2] <= found.boxes[..., 2:]).all()
    assert torch.equal(found.features, drawn_regions(3, config, DIMENSION, 0).features)
