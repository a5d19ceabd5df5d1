"""The planted world, once a session."""

import pytest

from unit.disentangle.planted_world import Captions, FakeImageFeatures, Images, make_captions, make_images


@pytest.fixture(scope="session")
def train_images() -> Images:
    return make_images(300, 1)


@pytest.fixture(scope="session")
def test_images() -> Images:
    return make_images(120, 2)


@pytest.fixture(scope="session")
def train_captions() -> Captions:
    return make_captions(300, 3)


@pytest.fixture(scope="session")
def test_captions() -> Captions:
    return make_captions(100, 4)


@pytest.fixture(scope="session")
def store() -> type[FakeImageFeatures]:
    """Wraps patches as the feature store does."""
    return FakeImageFeatures
