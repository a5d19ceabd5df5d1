"""Median rank and mAP@R against loops over the whole matrix, and what torchmetrics calls something else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.evaluation.ranks import RankCounter, first_rank_and_precision
from vialign.evaluation.retrieval import recall, retrieval_ranks


def counted(scores, image_of_caption, block):
    """The rows of a counter that saw the matrix in blocks, and that the blocks passed unchanged."""
    scores, image_of_caption = torch.tensor(scores), torch.tensor(image_of_caption)
    counter = RankCounter(image_of_caption, scores[image_of_caption, torch.arange(len(image_of_caption))])
    passed = list(counter.watch(scores.split(block)))
    assert torch.equal(torch.cat(passed), scores)
    return counter.rows("test", "frozen", 0).set_index("benchmark")


def loops(scores, right):
    """Rank of the first right candidate and AP@R of every query, by sorting: wrong candidates first among the tied."""
    ranks, precisions = [], []
    for row, truth in zip(scores, right, strict=True):
        if not truth.any():
            continue
        order = sorted(range(len(row)), key=lambda place: (-row[place], truth[place]))
        hits = [bool(truth[place]) for place in order]
        ranks.append(1 + hits.index(True))
        several = int(truth.sum())
        precisions.append(sum(np.mean(hits[: n + 1]) for n in range(several) if hits[n]) / several)
    return np.array(ranks), np.array(precisions)


@given(st.integers(1, 12), st.integers(1, 25), st.integers(1, 5), st.integers(2, 40), st.integers(0, 10_000))
def test_ranks_equal_the_loop_for_every_block_size_with_ties(images, captions, block, values, seed):
    rng = np.random.default_rng(seed)
    image_of_caption = rng.integers(images, size=captions)
    scores = rng.integers(values, size=(images, captions)) / 7
    right = image_of_caption[None, :] == np.arange(images)[:, None]
    rows = counted(scores, image_of_caption, block)
    for name, matrix, truth in (("image_to_text", scores, right), ("text_to_image", scores.T, right.T)):
        ranks, precisions = loops(matrix, truth)
        row = rows.loc[f"test/{name}"]
        assert row["median_rank"] == np.median(ranks) and row["queries"] == len(ranks)
        assert row["map_at_r"] == pytest.approx(precisions.mean())
        assert row["gallery"] == matrix.shape[1]
    asked = right.any(axis=1)
    first, precision = first_rank_and_precision(torch.tensor(scores[asked]), torch.tensor(right[asked]))
    assert first.tolist() == loops(scores, right)[0].tolist()
    np.testing.assert_allclose(precision, loops(scores, right)[1])


def test_with_one_right_candidate_it_is_recall_at_one():
    generator = np.random.default_rng(0)
    owner = np.arange(40)
    scores = generator.normal(size=(40, 40)) + 2 * np.eye(40)
    rows = counted(scores, owner, 7)
    found = retrieval_ranks(torch.tensor(scores).split(7), torch.tensor(owner), 40)
    for name, ranks in zip(("image_to_text", "text_to_image"), found, strict=True):
        assert rows.loc[f"test/{name}", "map_at_r"] == pytest.approx(recall(ranks, 1))


def test_average_precision_and_r_precision_of_torchmetrics_are_something_else():
    from vialign.backbone.torchvision_shim import define_missing_operators

    define_missing_operators()
    from torchmetrics.retrieval import RetrievalMAP, RetrievalRPrecision

    owner = np.repeat(np.arange(15), 5)
    right = owner[None, :] == np.arange(15)[:, None]
    scores = np.random.default_rng(0).normal(size=right.shape) + 1.5 * right
    found = counted(scores, owner, 4).loc["test/image_to_text", "map_at_r"]
    flat = torch.tensor(scores).flatten(), torch.tensor(right).flatten()
    index = torch.arange(15)[:, None].expand(right.shape).flatten()
    assert abs(found - float(RetrievalMAP()(*flat, indexes=index))) > 0.02
    # Places count, so it is below R-precision, which is where all hits among the first R would stand first.
    assert found < float(RetrievalRPrecision()(*flat, indexes=index))
