import numpy as np
import pandas as pd
import pytest

from planted import Vocabulary, planted_world
from vialign.evaluation.run import core_outcomes
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.objective import part_of
from vialign.training.monitor import check, sample_images, selection_score


def loop_recall(scores, owner):
    """Mean R@1 of both directions, query by query; a tie is lost."""
    images = [scores[i][owner == i].max() > scores[i][owner != i].max() for i in sorted(set(owner.tolist()))]
    texts = [scores[owner[t], t] > np.delete(scores[:, t], owner[t]).max() for t in range(len(owner))]
    return (np.mean(images) + np.mean(texts)) / 2


def test_a_check_agrees_with_the_evaluation_of_the_same_split():
    world = planted_world(Vocabulary(16), images=40, seed=0, noise=1.0)
    world.negatives[world.captions[:7], 0] = -1
    world.negatives[world.captions[:3]] = -1
    method = Frozen(10.0, 1.0)
    for batch in (7, 256):
        row, found = check(method, world, 5, 3, batch)
        outcomes = core_outcomes(method, world, "frozen", 3, "selection")
        pd.testing.assert_frame_equal(found, outcomes)
        mean = outcomes.groupby(["benchmark", "measure"])["value"].mean()
        scores = (world.image_pooled @ world.text_pooled[world.captions].T).numpy()
        assert 0.05 < row["recall"] < 0.95
        assert row["recall"] == pytest.approx(loop_recall(scores, world.image_of_text[world.captions].numpy()))
        assert row["negatives"] == pytest.approx(mean["selection/negatives", "accuracy"], abs=1e-9)
        assert row["consistency_mean"] is None and row["step"] == 5
        assert selection_score(row) == pytest.approx((row["recall"] + row["negatives"]) / 2)


def test_without_negatives_the_score_is_recall_alone():
    world = planted_world(Vocabulary(16), images=10, seed=0)
    world.negatives.fill_(-1)
    row, _ = check(Frozen(10.0, 1.0), world, 0)
    assert row["negatives"] is None and selection_score(row) == row["recall"]


def test_a_sample_is_a_world_of_its_own():
    """A check of a part equals the loop over its images, captions and negatives alone."""
    world = planted_world(Vocabulary(16), images=40, seed=0, noise=1.0)
    world.negatives[world.captions[:7], 0] = -1
    sample = sample_images(world, 15)
    assert len(set(sample.tolist())) == 15 and sample[0] == 0 and sample[-1] == 39
    method = Frozen(10.0, 1.0)
    row, _ = check(method, part_of(world, sample), 5, 0, 7)
    captions = [t for t in world.captions.tolist() if int(world.image_of_text[t]) in sample.tolist()]
    scores = (world.image_pooled[sample] @ world.text_pooled[captions].T).numpy()
    owner = np.array([sample.tolist().index(int(world.image_of_text[t])) for t in captions])
    assert row["recall"] == pytest.approx(loop_recall(scores, owner))
    shares = []
    for caption in captions:
        image = world.image_pooled[world.image_of_text[caption]]
        wrong = [n for n in world.negatives[caption].tolist() if n >= 0]
        right = image @ world.text_pooled[caption]
        shares.append(np.mean([bool(right > image @ world.text_pooled[n]) for n in wrong]))
    assert row["negatives"] == pytest.approx(np.mean(shares))
    assert row["recall"] != check(method, world, 5)[0]["recall"]
    assert sample_images(world, 100).tolist() == list(range(40))
