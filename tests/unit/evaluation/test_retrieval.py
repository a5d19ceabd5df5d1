import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.evaluation.retrieval import LEVELS, recall, retrieval_outcomes, retrieval_ranks


def blocks_of(scores, size):
    return (scores[start : start + size] for start in range(0, len(scores), size))


def brute_force(scores, image_of_caption):
    """Per query: (wrong candidates above, wrong candidates at least as high, best wrong one), by plain loops."""
    images, captions = scores.shape
    to_text, to_image = {}, {}
    for i in range(images):
        own = [scores[i, c] for c in range(captions) if image_of_caption[c] == i]
        if own:
            wrong = {c: scores[i, c] for c in range(captions) if image_of_caption[c] != i}
            to_text[i] = summary(max(own), wrong)
    for c in range(captions):
        wrong = {i: scores[i, c] for i in range(images) if i != image_of_caption[c]}
        to_image[c] = summary(scores[image_of_caption[c], c], wrong)
    return to_text, to_image


def summary(right, wrong):
    above = sum(value > right for value in wrong.values())
    level = sum(value >= right for value in wrong.values())
    best = max(wrong.values(), default=None)
    return min(above, 10), min(level, 10), {name for name, value in wrong.items() if value == best}


@given(
    st.integers(1, 14), st.integers(1, 25), st.integers(1, 5), st.integers(2, 60), st.integers(0, 10_000), st.booleans()
)
def test_ranks_equal_the_loop_for_every_block_size_with_and_without_ties(images, captions, block, values, seed, ties):
    rng = np.random.default_rng(seed)
    image_of_caption = rng.integers(images, size=captions)
    scores = rng.integers(values, size=(images, captions)) / 7 if ties else rng.normal(size=(images, captions))
    ranks = retrieval_ranks(blocks_of(torch.tensor(scores), block), torch.tensor(image_of_caption), images)
    for direction, expected in zip(ranks, brute_force(scores, image_of_caption), strict=True):
        assert direction.queries.tolist() == sorted(expected)
        for n, query in enumerate(direction.queries.tolist()):
            above, level, rivals = expected[query]
            assert (int(direction.above[n]), int(direction.level[n])) == (above, level)
            assert int(direction.rival[n]) in (rivals or {-1})


def test_recall_is_the_hit_rate_of_torchmetrics_and_not_its_recall():
    from vialign.backbone.torchvision_shim import define_missing_operators

    define_missing_operators()
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalRecall

    images, each = 15, 5
    generator = torch.Generator().manual_seed(0)
    image_of_caption = torch.arange(images).repeat_interleave(each)
    truth = image_of_caption[None, :] == torch.arange(images)[:, None]
    scores = torch.randn(images, images * each, generator=generator) + 1.5 * truth
    image_to_text, text_to_image = retrieval_ranks(blocks_of(scores, 7), image_of_caption, images)
    rows = torch.arange(images)[:, None].expand_as(scores)
    columns = torch.arange(images * each)[None, :].expand_as(scores)
    for k in LEVELS:
        hit = RetrievalHitRate(top_k=k)
        expected = hit(scores.flatten(), truth.flatten(), indexes=rows.flatten())
        assert recall(image_to_text, k) == pytest.approx(float(expected))
        assert recall(text_to_image, k) == pytest.approx(
            float(RetrievalHitRate(top_k=k)(scores.flatten(), truth.flatten(), indexes=columns.flatten()))
        )
    part = RetrievalRecall(top_k=1)(scores.flatten(), truth.flatten(), indexes=rows.flatten())
    assert abs(recall(image_to_text, 1) - float(part)) > 0.1


def test_a_constant_scorer_finds_nothing_and_every_loss_is_a_tie():
    image_of_caption = torch.arange(20)
    to_text, to_image = retrieval_ranks([torch.zeros(20, 20)], image_of_caption, 20)
    captions = pd.DataFrame({"text_id": [f"c{n}" for n in range(20)], "image_id": [f"i{n}" for n in range(20)]})
    rows = retrieval_outcomes(to_text, to_image, [f"i{n}" for n in range(20)], captions)
    assert rows["value"].sum() == 0
    assert rows["tie"].all()


def test_outcomes_name_the_query_its_image_and_the_best_wrong_candidate_of_a_failure():
    # Image a has captions 0 and 1, image b has caption 2; caption 1 prefers image b.
    scores = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.6, 0.5]])
    captions = pd.DataFrame({"text_id": ["a#0", "a#1", "b#0"], "image_id": ["a", "a", "b"]})
    ranks = retrieval_ranks([scores], torch.tensor([0, 0, 1]), 2)
    rows = retrieval_outcomes(*ranks, ["a", "b"], captions).set_index(["benchmark", "measure", "item_id"])
    lost = rows.loc[("text_to_image", "r1", "a#1")]
    assert (lost["value"], lost["chosen"], lost["image_id"], lost["tie"]) == (0, "b", "a", False)
    lost = rows.loc[("image_to_text", "r1", "b")]
    assert (lost["value"], lost["chosen"]) == (0, "a#1")
    assert rows.loc[("image_to_text", "r1", "a"), "value"] == 1
    assert pd.isna(rows.loc[("image_to_text", "r1", "a"), "chosen"])
    assert rows.loc[("text_to_image", "r5", "a#1"), "value"] == 1


def test_an_image_without_captions_is_no_query_but_can_win():
    scores = torch.tensor([[0.5], [0.9]])
    to_text, to_image = retrieval_ranks([scores], torch.tensor([0]), 2)
    assert to_text.queries.tolist() == [0]
    assert to_text.rival.tolist() == [-1]
    assert (to_image.level.tolist(), to_image.rival.tolist()) == ([1], [1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_score_that_is_not_finite_is_an_error_and_not_a_hit(value):
    scores = torch.eye(3)
    scores[1, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        retrieval_ranks([scores], torch.arange(3), 3)


def test_missing_rows_are_an_error():
    with pytest.raises(ValueError, match="hold 2 images, expected 3"):
        retrieval_ranks([torch.eye(3)[:2]], torch.arange(3), 3)


def test_recall_beyond_the_counted_depth_is_refused():
    ranks, _ = retrieval_ranks([torch.eye(3)], torch.arange(3), 3)
    assert recall(ranks, 10) == 1
    with pytest.raises(ValueError, match="counted up to 10"):
        recall(ranks, 11)
