"""Quality of prototypes against brute force and by hand."""

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.disentangle.boxes import box_targets
from vialign.disentangle.prototype_quality import box_iou, ceiling_iou, threshold, visual_quality
from vialign.disentangle.visual import VisualDisentangler

SUBJECTS = ("dictionary", "random atoms")


def iou_by_hand(mask, coverage):
    shared = sum(c for m, c in zip(mask, coverage, strict=True) if m)
    return shared / (sum(mask) + sum(coverage) - shared)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda values: sum(values) > 0.01))
def test_the_ceiling_is_the_best_of_all_sets_of_patches(coverage):
    patches = range(len(coverage))
    sets = chain.from_iterable(combinations(patches, size) for size in range(1, len(coverage) + 1))
    best = max(iou_by_hand([k in chosen for k in patches], coverage) for chosen in sets)
    found = ceiling_iou(torch.tensor([[coverage]], dtype=torch.float64))
    assert found.item() == pytest.approx(best)


@given(st.integers(0, 2**31))
def test_iou_equals_the_loop_and_stays_below_the_ceiling(seed):
    rng = np.random.default_rng(seed)
    masks, coverage = rng.random((2, 3, 6)) < 0.5, rng.random((2, 2, 6))
    found = box_iou(torch.from_numpy(masks), torch.from_numpy(coverage))
    for b in range(2):
        for t in range(2):
            for p in range(3):
                assert found[b, t, p].item() == pytest.approx(iou_by_hand(masks[b, p], coverage[b, t]))
    assert bool((found.amax(-1) <= ceiling_iou(torch.from_numpy(coverage)) + 1e-9).all())


def test_threshold_is_half_of_the_maximum():
    maps = torch.tensor([[[0.1, 0.2, 0.4, 0.19], [0.0, 0.0, 0.0, 0.0]]])
    assert threshold(maps)[0].tolist() == [[False, True, True, False], [False] * 4]


@pytest.fixture
def measured(test_images):
    """Measures a random dictionary on the planted images with the given attention maps."""
    torch.manual_seed(0)
    visual = VisualDisentangler(32, (7, 7), 12, 2, 4, 0.1, 4)

    def measure(attention):
        world = test_images
        return visual_quality(
            visual, world.patches, world.images, world.boxes, "planted", 0, attention=attention
        ).frame()

    return measure


def test_attention_is_measured_like_any_other_map(measured, test_images):
    """One head that attends to the boxes reaches almost the ceiling; heads that attend anywhere do not."""
    boxes = test_images.boxes
    objects = box_targets(boxes, test_images.images, (7, 7), labels=boxes["name"], merge=False)
    rng = np.random.default_rng(0)
    anywhere = torch.from_numpy(rng.random((120, 3, 49))).float()

    def row(frame, subject, measure="iou mean"):
        return frame[(frame["subject"] == subject) & (frame["measure"] == measure)].iloc[0]

    good = measured(torch.cat([anywhere, objects.coverage], dim=1))
    bad = measured(anywhere)
    assert row(good, "attention")["value"] > 0.95 * row(good, "ceiling")["value"]
    assert row(bad, "attention")["high"] < row(good, "attention")["low"] - 0.2
    assert row(good, "attention", "maps")["value"] == 5 and row(good, "dictionary", "maps")["value"] == 4
    by_hand = [
        max(iou_by_hand((head >= head.max() / 2).tolist(), coverage.tolist()) for head in heads)
        for heads, image in zip(anywhere[:20], objects.coverage[:20], strict=True)
        for coverage in image
    ]
    few = box_iou(threshold(anywhere[:20]), objects.coverage[:20]).amax(dim=-1)
    assert few.mean().item() == pytest.approx(np.mean(by_hand))


def test_the_floor_is_of_atoms_that_nothing_was_fitted_to(test_images):
    """Two dictionaries, one that knows the classes of the world: their own maps differ, their floor is the same."""
    objects = box_targets(test_images.boxes, test_images.images, (7, 7))
    inside = torch.stack([(objects.coverage * (objects.label == k)[..., None]).sum(1) for k in range(6)])
    patches = test_images.patches - test_images.patches.mean(dim=(0, 1))
    classes = torch.einsum("kbn,bnd->kd", inside, patches)
    found = {}
    for name in ("fitted", "drawn"):
        torch.manual_seed(1)
        visual = VisualDisentangler(32, (7, 7), 6, 2, 4, 0.1, 4)
        visual.mean.copy_(test_images.patches.mean(dim=(0, 1)))
        if name == "fitted":
            with torch.no_grad():
                visual.dictionary[:6] = classes
        frame = visual_quality(visual, test_images.patches, test_images.images, test_images.boxes, "planted", 0).frame()
        found[name] = frame[frame["measure"] == "iou mean"].set_index("subject")
    dictionary, floor = ({name: rows.loc[subject] for name, rows in found.items()} for subject in SUBJECTS)
    assert dictionary["fitted"]["low"] > dictionary["drawn"]["high"] + 0.05
    assert dictionary["fitted"]["low"] > floor["fitted"]["high"] + 0.05
    assert floor["fitted"].equals(floor["drawn"])
    # Nor is it the very dictionary that is measured, drawn as it was before fitting.
    assert floor["drawn"]["value"] != dictionary["drawn"]["value"]


def test_every_mean_over_images_has_an_interval_and_counts_have_none(measured):
    frame = measured(None)
    assert set(frame["subject"]) == {"dictionary", "random atoms", "k-means", "ceiling"}
    counts = frame["measure"].isin(["maps", "dead atoms"])
    assert frame.loc[counts, "low"].isna().all()
    rest = frame[~counts]
    assert ((rest["low"] <= rest["value"]) & (rest["value"] <= rest["high"])).all()
    assert (rest["low"] < rest["high"])[rest["measure"].str.startswith("iou")].all()
    classes = {"iou mean", "iou circle", "iou square"}
    assert all(classes <= set(part["measure"]) for _, part in rest.groupby("subject"))


def test_only_the_classes_with_most_objects_get_rows_of_their_own(measured, test_images, monkeypatch):
    monkeypatch.setattr("vialign.disentangle.prototype_quality.CLASSES", 1)
    most = test_images.boxes["name"].value_counts().index[0]
    measures = set(measured(None)["measure"])
    assert {name for name in measures if name.startswith("iou")} == {"iou mean", f"iou {most}"}
