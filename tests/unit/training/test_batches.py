import numpy as np
import pytest
import torch

from planted import Vocabulary, planted_world
from vialign.errors import UserError
from vialign.methods.objective import SplitData
from vialign.training.batches import BatchOrder


@pytest.fixture(scope="module")
def world():
    return planted_world(Vocabulary(8), images=11, seed=0)


def with_negatives(world, negatives) -> SplitData:
    return SplitData(**{**vars(world), "negatives": negatives})


def test_batches_hold_distinct_images_their_captions_and_negatives_of_those(world):
    order = BatchOrder(world, 4, seed=0)
    captions, seen = set(world.captions.tolist()), set()
    for step in range(1, 60):
        batch = order.draw(step)
        assert len(set(batch.images.tolist())) == 4
        assert torch.equal(world.image_of_text[batch.texts], batch.images)
        assert set(batch.texts.tolist()) <= captions
        for text, negative in zip(batch.texts.tolist(), batch.negatives.tolist(), strict=True):
            assert negative in world.negatives[text].tolist()
            seen.add((text, negative))
    assert seen == {(text, n) for text in captions for n in world.negatives[text].tolist()}


def test_a_pass_visits_no_image_twice_and_passes_differ(world):
    order = BatchOrder(world, 4, seed=0)
    assert order.steps_per_epoch == 2
    passes = [torch.cat([order.draw(2 * epoch + 1).images, order.draw(2 * epoch + 2).images]) for epoch in range(6)]
    assert all(len(set(images.tolist())) == 8 for images in passes)
    assert len({tuple(images.tolist()) for images in passes}) == 6


def test_a_step_depends_on_seed_and_number_only(world):
    forward = [BatchOrder(world, 4, seed=3).draw(step) for step in (1, 2, 9)]
    order = BatchOrder(world, 4, seed=3)
    backward = [order.draw(step) for step in (9, 2, 1)][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.texts, b.texts)
        assert torch.equal(a.negatives, b.negatives)
    other = BatchOrder(world, 4, seed=4).draw(1)
    assert not torch.equal(other.images, forward[0].images)


def test_missing_negatives_are_marked_and_present_ones_preferred(world):
    negatives = world.negatives.clone()
    negatives[:, 0] = -1
    caption = int(world.captions[0])
    negatives[caption] = -1
    order = BatchOrder(with_negatives(world, negatives), 11, seed=0)
    for step in range(1, 20):
        batch = order.draw(step)
        expected = np.where(batch.texts.numpy() == caption, -1, world.negatives[batch.texts, 1].numpy())
        assert batch.negatives.tolist() == expected.tolist()
    none = BatchOrder(with_negatives(world, negatives[:, :0]), 4, seed=0).draw(1)
    assert none.negatives.tolist() == [-1] * 4


def test_a_batch_larger_than_the_split_is_the_split_and_one_image_is_an_error(world):
    order = BatchOrder(world, 100, seed=0)
    assert order.steps_per_epoch == 1 and sorted(order.draw(5).images.tolist()) == list(range(11))
    with pytest.raises(UserError, match="at least 2"):
        BatchOrder(planted_world(Vocabulary(8), images=1, seed=0), 4, seed=0)
