import numpy as np
import pytest
import torch

from planted import Vocabulary, planted_world
from vialign.evaluation.run import core_outcomes
from vialign.methods.baselines.frozen import Frozen
from vialign.training.monitor import check, recall_at_1, sample_images, selection_score


def test_recall_equals_the_loop_with_ties_lost_and_empty_images_only_in_the_gallery():
    rng = np.random.default_rng(0)
    owner = np.array([0, 0, 1, 3, 3, 3, 4])
    for _ in range(20):
        scores = rng.integers(0, 6, size=(5, 7)).astype(float)
        images = [scores[i][owner == i].max() > scores[i][owner != i].max() for i in (0, 1, 3, 4)]
        texts = [all(scores[owner[t], t] > scores[i, t] for i in range(5) if i != owner[t]) for t in range(7)]
        found = recall_at_1(torch.tensor(scores), torch.tensor(owner))
        assert [float(value) for value in found] == pytest.approx([np.mean(images), np.mean(texts)])


def test_a_check_agrees_with_the_evaluation_of_the_same_split():
    world = planted_world(Vocabulary(16), images=40, seed=0, noise=1.0)
    world.negatives[world.captions[:7], 0] = -1
    world.negatives[world.captions[:3]] = -1
    method = Frozen(10.0, 1.0)
    for batch in (7, 256):
        row = check(method, world, 5, batch)
        outcomes = core_outcomes(method, world, "frozen", 0, "selection")
        mean = outcomes.groupby(["benchmark", "measure"])["value"].mean()
        recall = (mean["selection/image_to_text", "r1"] + mean["selection/text_to_image", "r1"]) / 2
        assert 0.05 < row["recall"] < 0.95
        assert row["recall"] == pytest.approx(recall, abs=1e-9)
        assert row["negatives"] == pytest.approx(mean["selection/negatives", "accuracy"], abs=1e-9)
        assert row["consistency_mean"] is None and row["step"] == 5
        assert selection_score(row) == pytest.approx((row["recall"] + row["negatives"]) / 2)


def test_without_negatives_the_score_is_recall_alone():
    world = planted_world(Vocabulary(16), images=10, seed=0)
    world.negatives.fill_(-1)
    row = check(Frozen(10.0, 1.0), world, 0)
    assert row["negatives"] is None and selection_score(row) == row["recall"]


def test_a_sample_is_a_world_of_its_own():
    """A check of a sample equals the evaluation of outcomes in which only its images and captions exist."""
    world = planted_world(Vocabulary(16), images=40, seed=0, noise=1.0)
    world.negatives[world.captions[:7], 0] = -1
    sample = sample_images(world, 15)
    assert len(set(sample.tolist())) == 15 and sample[0] == 0 and sample[-1] == 39
    method = Frozen(10.0, 1.0)
    row = check(method, world, 5, 7, sample)
    captions = [t for t in world.captions.tolist() if int(world.image_of_text[t]) in sample.tolist()]
    scores = (world.image_pooled[sample] @ world.text_pooled[captions].T).numpy()
    owner = np.array([sample.tolist().index(int(world.image_of_text[t])) for t in captions])
    images = [scores[i][owner == i].max() > scores[i][owner != i].max() for i in range(15)]
    texts = [scores[owner[t], t] > np.delete(scores[:, t], owner[t]).max() for t in range(len(captions))]
    assert row["recall"] == pytest.approx((np.mean(images) + np.mean(texts)) / 2)
    shares = []
    for caption in captions:
        image = world.image_pooled[world.image_of_text[caption]]
        wrong = [n for n in world.negatives[caption].tolist() if n >= 0]
        right = image @ world.text_pooled[caption]
        shares.append(np.mean([bool(right > image @ world.text_pooled[n]) for n in wrong]))
    assert row["negatives"] == pytest.approx(np.mean(shares))
    assert row["recall"] != check(method, world, 5)["recall"]
    assert sample_images(world, 100).tolist() == list(range(40))
