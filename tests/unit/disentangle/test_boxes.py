"""Labelled boxes as targets on the patch grid."""

import pandas as pd
import pytest
import torch

from vialign.disentangle.boxes import box_targets


@pytest.fixture
def frames():
    objects = pd.DataFrame(
        {
            "object_id": ["a/0", "a/1", "b/0", "c/0", "b/1"],
            "image_id": ["a", "a", "b", "elsewhere", "b"],
            "name": ["dog", "dog", "cat", "dog", "dog"],
            "x": [0.0, 5.0, 0.0, 0.0, 40.0],
            "y": [0.0, 5.0, 0.0, 0.0, 0.0],
            "width": [5.0, 5.0, 10.0, 5.0, 5.0],
            "height": [5.0, 5.0, 10.0, 5.0, 5.0],
            "attributes": [["big", "red"], ["big", "red"], [], [], []],
        }
    )
    images = pd.DataFrame({"image_id": ["b", "a"], "width": [10, 10], "height": [10, 10]})
    return objects, images


def test_targets_follow_the_image_rows_and_merge_a_class(frames):
    targets = box_targets(*frames, (2, 2))
    assert targets.labels == ["big dog", "cat"]  # the dog outside b's crop and the one of no image are left out
    assert targets.label.tolist() == [[1], [0]]
    torch.testing.assert_close(targets.coverage[:, 0], torch.tensor([[1.0, 1, 1, 1], [1.0, 0, 0, 1]]))


def test_without_merging_every_object_is_a_target(frames):
    targets = box_targets(*frames, (2, 2), merge=False)
    assert targets.label.tolist() == [[1, -1], [0, 0]]
    torch.testing.assert_close(targets.coverage[1], torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1.0]]))
    assert targets.coverage[0, 1].sum() == 0


def test_no_objects_give_no_targets(frames):
    objects, images = frames
    targets = box_targets(objects.iloc[:0], images, (2, 2))
    assert targets.coverage.shape == (2, 0, 4) and targets.labels == []
