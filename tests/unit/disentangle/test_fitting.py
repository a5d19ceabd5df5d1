"""Fitting finds what was planted, and finds nothing where nothing was."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.disentangle import encode_texts, fit_text, fit_visual, text_quality, visual_quality
from vialign.disentangle.losses import local_scores
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import Prototypes
from vialign.disentangle.visual_fitting import kmeans, take_patches

GRID = (7, 7)
VISUAL = VisualConfig(atoms=12, background=8, prototypes=4, steps=120, batch=48, adapter_rank=8, temperature=0.1)
TEXT = TextConfig(units=6, steps=150, batch=48, adapter_rank=16, learning_rate=1e-2)


def value(quality: pd.DataFrame, subject: str, measure: str, column: str = "value") -> float:
    found = quality[(quality["subject"] == subject) & (quality["measure"] == measure)]
    assert len(found) == 1, (subject, measure)
    return float(found[column].iloc[0])


@pytest.fixture(scope="module")
def fitted(train_images):
    world = train_images
    return fit_visual(world.patches, world.boxes, world.images, world.labels, VISUAL, GRID, 0, world.moved)


def quality_of(visual, train, test):
    return visual_quality(
        visual, test.patches, test.images, test.boxes, "planted", 0, train.patches, test.labels, test.moved
    ).frame()


def test_prototypes_find_planted_objects_better_than_clusters_do(fitted, train_images, test_images):
    visual, log = fitted
    quality = quality_of(visual, train_images, test_images)
    iou = {name: value(quality, name, "iou mean") for name in ("dictionary", "k-means", "random atoms", "ceiling")}
    assert value(quality, "dictionary", "iou mean", "low") > value(quality, "k-means", "iou mean", "high")
    assert iou["dictionary"] > iou["random atoms"] + 0.2
    assert 0.6 * iou["ceiling"] < iou["dictionary"] <= iou["ceiling"]
    assert value(quality, "dictionary", "label accuracy") > 0.9  # chance 1/6
    assert value(quality, "dictionary", "label pointing") > 0.9
    assert value(quality, "dictionary", "stability flip iou") > 0.5
    assert value(quality, "dictionary", "stability shift iou") > 0.5
    assert len(log) == VISUAL.steps
    assert log["loss"].tail(20).mean() < log["loss"].head(20).mean()
    assert log[["purity", "alignment", "stability_shift"]].notna().all().all() and log["caption"].isna().all()


def test_boxes_of_other_images_teach_no_labels(train_images, test_images):
    """The negative control: the same boxes, dealt to other images."""
    world = train_images
    names = world.boxes["image_id"].unique()
    other = dict(zip(names, np.roll(names, 7), strict=True))
    boxes = world.boxes.assign(image_id=world.boxes["image_id"].map(other))
    visual, _ = fit_visual(world.patches, boxes, world.images, world.labels, VISUAL, GRID, 0)
    assert value(quality_of(visual, world, test_images), "dictionary", "label accuracy") < 0.35


def test_without_boxes_captions_align_and_the_log_says_what_was_missing(train_images, test_images):
    world = train_images
    labels = torch.stack(
        [torch.stack([world.labels[f"{a[0]} {n}"] for a, n in zip(g["attributes"], g["name"], strict=True)])
         for _, g in world.boxes.groupby("image_id", sort=False)]
    )  # fmt: skip
    captions = F.normalize(labels.sum(dim=1, keepdim=True), dim=-1)
    visual, log = fit_visual(
        world.patches, world.boxes.iloc[:0], world.images, None, VISUAL, GRID, 0, captions=captions
    )
    assert log[["purity", "extent", "alignment", "stability_flip", "stability_shift"]].isna().all().all()
    assert log["caption"].tail(10).mean() < log["caption"].head(10).mean() - 0.3
    quality = visual_quality(visual, test_images.patches, test_images.images, world.boxes.iloc[:0], "photos", 0).frame()
    assert set(quality["measure"]) == {"prototypes used", "dead atoms"}


def test_the_same_seed_gives_the_same_dictionary(fitted, train_images, store):
    """Read from a store or from memory."""
    world = train_images
    again, _ = fit_visual(
        store(world.patches), world.boxes, world.images, world.labels, VISUAL, GRID, 0,
        {move: store(patches) for move, patches in world.moved.items()},
    )  # fmt: skip
    for name, tensor in fitted[0].state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, msg=name)


def test_wrong_sizes_are_refused(train_images):
    world = train_images
    with pytest.raises(ValueError, match="patches of 10 images, expected 300"):
        fit_visual(world.patches[:10], world.boxes, world.images, None, VISUAL, GRID, 0)
    with pytest.raises(ValueError, match="49 patches do not fill a grid of 7 by 8"):
        fit_visual(world.patches, world.boxes, world.images, None, VISUAL, (7, 8), 0)
    with pytest.raises(ValueError, match="label 'blue circle' has no embedding"):
        fit_visual(world.patches, world.boxes, world.images, {"red circle": torch.ones(32)}, VISUAL, GRID, 0)


def test_rows_are_taken_alike_from_store_and_memory(store):
    patches = torch.randn(1300, 2, 3)
    rows = np.array([0, 511, 512, 1299])
    expected = patches[torch.from_numpy(rows)]
    assert torch.equal(take_patches(patches, rows, 1300), expected)
    assert torch.equal(take_patches(store(patches), rows, 1300), expected)


def test_kmeans_with_fewer_points_than_clusters():
    centres, member = kmeans(torch.eye(3), 5, 0)
    assert centres.shape == (5, 3) and torch.isfinite(centres).all() and len(member) == 3


def planted_prototypes(world, labels, seed):
    """Each caption's image has its two objects and two prototypes of nothing."""
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(world.content), 2, 32, generator=draw)
    vectors = torch.stack(list(labels.values()))
    vectors = F.normalize(vectors - vectors.mean(dim=0), dim=-1)
    features = F.normalize(torch.cat([vectors[world.content], noise], dim=1), dim=-1)
    mass, moments = torch.full((len(features), 4), 0.25), torch.zeros(len(features), 4, 5)
    return Prototypes(features, mass, None, moments)


def same_content(text, world, prototypes):
    """Share of captions whose best image has the same two objects; chance is 1 in 15 pairs."""
    phrases = encode_texts(text, world.features, world.units)
    best = local_scores(prototypes.features, phrases.features, phrases.weight).argmax(dim=0)
    content = world.content.sort(dim=1).values
    return float((content[best] == content).all(dim=1).float().mean())


@pytest.fixture(scope="module")
def fitted_text(train_captions, train_images):
    world = train_captions
    prototypes = planted_prototypes(world, train_images.labels, 0)
    return fit_text(world.features, world.units, world.image_of_text, prototypes, TEXT, 0)


def test_the_main_path_learns_the_parsers_units(fitted_text, test_captions):
    text, log = fitted_text
    world = test_captions
    quality = text_quality(text, world.features, world.units, world.units.iloc[:0], "planted", 0).frame()
    for measure in ("f1 entity", "f1 attribute", "f1 relation", "arguments"):
        assert value(quality, "span path main", measure) > 0.9, measure
    untrained = TextDisentangler.from_config(TEXT, 32)
    before = text_quality(untrained, world.features, world.units, world.units.iloc[:0], "planted", 0).frame()
    assert value(before, "span path main", "f1 all") < 0.3
    assert log["kind"].iloc[-1] < log["kind"].iloc[0] / 2


def test_phrases_find_their_prototypes(fitted_text, test_captions, train_images):
    prototypes = planted_prototypes(test_captions, train_images.labels, 1)
    shuffled = prototypes.index(torch.arange(len(prototypes)).roll(1))
    found = same_content(fitted_text[0], test_captions, prototypes)
    assert found > 0.6
    assert same_content(fitted_text[0], test_captions, shuffled) < 0.2  # the same prototypes under the wrong images


def test_prototypes_of_other_images_teach_nothing(train_captions, test_captions, train_images):
    world = train_captions
    prototypes = planted_prototypes(world, train_images.labels, 0)
    wrong = torch.from_numpy(np.random.default_rng(0).permutation(len(prototypes)))
    text, _ = fit_text(world.features, world.units, wrong, prototypes, TEXT, 0)
    assert same_content(text, test_captions, planted_prototypes(test_captions, train_images.labels, 1)) < 0.3


def test_texts_are_fitted_the_same_twice_and_only_on_captions(train_captions, train_images):
    world, config = train_captions, TEXT.model_copy(update={"steps": 3})
    prototypes = planted_prototypes(world, train_images.labels, 0)
    captions = torch.arange(0, 300, 2)

    def fit(image_of_text):
        return fit_text(world.features, world.units, image_of_text, prototypes, config, 0, captions)[0].state_dict()

    first, second = fit(world.image_of_text), fit(torch.where(torch.arange(300) % 2 == 0, world.image_of_text, -1))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, msg=name)


def test_one_image_is_not_enough(train_captions, train_images):
    world = train_captions
    prototypes = planted_prototypes(world, train_images.labels, 0)
    with pytest.raises(ValueError, match="at least two images"):
        fit_text(world.features, world.units, world.image_of_text * 0, prototypes, TEXT, 0)
