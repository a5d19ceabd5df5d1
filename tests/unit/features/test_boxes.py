"""Boxes on the patch grid against supersampling of the preprocessed image; labels and their embeddings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.features.boxes import box_coverage, embed_labels, object_labels
from vialign.features.pixels import boxes_in_crop


def sampled_coverage(box, size, grid, fine=40):
    """Points of a fine raster of the crop, mapped back to the original image and asked whether they are inside."""
    side = min(size)
    points = (np.arange(grid[1] * fine) + 0.5) / (grid[1] * fine), (np.arange(grid[0] * fine) + 0.5) / (grid[0] * fine)
    x, y = (p * side + (length - side) / 2 for p, length in zip(points, size, strict=True))
    inside_x = (x >= box[0]) & (x < box[0] + box[2])
    inside_y = (y >= box[1]) & (y < box[1] + box[3])
    raster = inside_y[:, None] & inside_x[None, :]
    return raster.reshape(grid[0], fine, grid[1], fine).mean(axis=(1, 3)).reshape(-1)


@given(
    st.tuples(*[st.floats(0, 90)] * 2, *[st.floats(1, 120)] * 2),
    st.tuples(st.integers(60, 200), st.integers(60, 200)),
    st.sampled_from([(3, 3), (2, 4), (7, 7)]),
)
def test_coverage_equals_supersampling(box, size, grid):
    width, height = np.array([float(size[0])]), np.array([float(size[1])])
    exact = box_coverage(boxes_in_crop(np.array([box]), width, height, "shortest"), grid)[0]
    np.testing.assert_allclose(exact, sampled_coverage(box, size, grid), atol=0.06)
    assert exact.min() >= 0 and exact.max() <= 1 + 1e-9


def test_coverage_of_a_wide_image_by_hand():
    # 200 x 100: the crop is x in [50, 150]; a box over its left half covers the left column of a 2 x 2 grid.
    corners = boxes_in_crop(np.array([[0.0, 0.0, 100.0, 50.0]]), np.array([200.0]), np.array([100.0]), "shortest")
    np.testing.assert_allclose(box_coverage(corners, (2, 2)), [[1, 0, 0, 0]])


@pytest.fixture
def objects():
    attributes = [["big", "red"], ["big", "red"], [], [], []]
    return pd.DataFrame({"name": ["dog", "dog", "cat", "dog", "dog"], "attributes": attributes})


def test_labels_are_the_first_attribute_and_the_name(objects):
    assert list(object_labels(objects)) == ["big dog", "big dog", "cat", "dog", "dog"]


class SpeakingBackbone:
    """Embeds a text as its length, so that what was said can be heard."""

    device = torch.device("cpu")

    def tokenize(self, texts):
        return SimpleNamespace(ids=torch.tensor([[len(text)] for text in texts]))

    def encode_text(self, ids):
        return ids.float()


def test_labels_are_embedded_with_their_article(objects):
    embedded = embed_labels(object_labels(objects), SpeakingBackbone(), batch=2)
    assert {label: vector.item() for label, vector in embedded.items()} == {"big dog": 9, "cat": 5, "dog": 5}
