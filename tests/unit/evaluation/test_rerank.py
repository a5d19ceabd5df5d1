import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vialign.evaluation.rerank import Ranking, ranking_agreement, rerank, rerank_retrieval
from vialign.evaluation.retrieval import Ranks, recall, retrieval_ranks


def lookup(table):
    """A pairwise score that reads a table."""
    return lambda queries, candidates: table[queries, candidates]


def brute_force(cheap, exact, right, k):
    """(above, level, first is right) of one query, by sorting a list: the shortlist by `exact`, then the rest."""
    order = sorted(range(len(cheap)), key=lambda c: -cheap[c])
    keys = {c: (1, exact[c]) if c in order[:k] else (0, cheap[c]) for c in order}
    best = max((keys[c] for c in order if right[c]), default=(-1, 0))
    above = sum(keys[c] > best for c in order if not right[c])
    level = sum(keys[c] >= best for c in order if not right[c])
    return min(above, 10), min(level, 10), level == 0


@given(
    st.integers(1, 9), st.integers(1, 16), st.integers(1, 20), st.integers(1, 4), st.integers(0, 9999), st.booleans()
)
def test_ranks_are_those_of_a_sorted_list(queries, candidates, k, block, seed, ties):
    rng = np.random.default_rng(seed)
    # The cheap score has no ties, so that the shortlist is one and the same; the exact score may have them.
    cheap = rng.permuted(np.tile(np.arange(candidates, dtype=float), (queries, 1)), axis=1)
    exact = rng.integers(3, size=cheap.shape).astype(float) if ties else rng.normal(size=cheap.shape)
    group_of_query = rng.integers(3, size=queries)
    group_of_candidate = rng.integers(3, size=candidates)
    ranking = rerank(
        lambda q: torch.tensor(cheap)[q],
        lookup(torch.tensor(exact)),
        torch.tensor(group_of_query),
        torch.tensor(group_of_candidate),
        k,
        block=block,
    )
    for q in range(queries):
        right = group_of_candidate == group_of_query[q]
        above, level, won = brute_force(cheap[q], exact[q], right, k)
        assert (int(ranking.ranks.above[q]), int(ranking.ranks.level[q])) == (above, level)
        assert bool(right[int(ranking.first[q])]) == won
        if level and right.sum() < candidates:
            assert not right[int(ranking.ranks.rival[q])]


@pytest.fixture
def gallery():
    """40 images with 3 captions each: pooled embeddings, and an exact score that differs from their cosine."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    image_of_caption = torch.arange(40).repeat_interleave(3)
    captions = images[image_of_caption] + 1.6 * torch.randn(120, 12, generator=generator, dtype=torch.float64)
    exact = images @ captions.T + 3 * torch.randn(40, 120, generator=generator, dtype=torch.float64)
    return images, captions, exact, image_of_caption


def test_with_k_as_large_as_the_gallery_it_is_the_exact_ranking(gallery):
    images, captions, exact, image_of_caption = gallery
    expected = retrieval_ranks(exact.split(7), image_of_caption, 40)
    for found, right in zip(
        rerank_retrieval(images, captions, lookup(exact), image_of_caption, 120), expected, strict=True
    ):
        for part in ("queries", "above", "level", "rival"):
            assert torch.equal(getattr(found.ranks, part), getattr(right, part))


def test_a_large_gallery_is_asked_by_few_queries_at_a_time(gallery, monkeypatch):
    images, captions, exact, image_of_caption = gallery
    expected = rerank_retrieval(images, captions, lookup(exact), image_of_caption, 5)
    monkeypatch.setattr("vialign.evaluation.rerank._CELLS", 250)
    asked = []

    def counted(queries):
        asked.append(len(queries))
        return images[queries] @ captions.T

    found = rerank(counted, lookup(exact), torch.arange(40), image_of_caption, 5)
    assert set(asked) == {2} and torch.equal(found.first, expected[0].first)


def test_with_k_of_one_the_first_is_that_of_the_cheap_score(gallery):
    images, captions, exact, image_of_caption = gallery
    to_text, to_image = rerank_retrieval(images, captions, lookup(exact), image_of_caption, 1)
    cheap = images @ captions.T
    assert torch.equal(to_text.first, cheap.argmax(dim=1))
    assert torch.equal(to_image.first, cheap.argmax(dim=0))


def test_agreement_with_the_exact_ranking_grows_with_k_and_ends_at_one(gallery):
    images, captions, exact, image_of_caption = gallery

    def ranked(k):
        return rerank_retrieval(images, captions, lookup(exact), image_of_caption, k)

    whole = ranked(120)
    for direction in (0, 1):
        agreement = [ranking_agreement(ranked(k)[direction], whole[direction]) for k in (1, 5, 20, 120)]
        first = [part["first"] for part in agreement]
        assert first == sorted(first)
        assert first[0] < 0.9
        assert agreement[-1] == {"r1": 1, "r5": 1, "r10": 1, "first": 1}
        assert set(agreement[0]) == {"r1", "r5", "r10", "first"}


def test_agreement_is_the_share_of_equal_outcomes():
    def ranking(level, first):
        level = torch.tensor(level)
        return Ranking(Ranks(torch.arange(len(level)), level, level, level), torch.tensor(first))

    first, second = ranking([0, 0, 4, 10], [1, 2, 3, 4]), ranking([0, 1, 5, 9], [1, 2, 0, 0])
    assert ranking_agreement(first, second) == {"r1": 0.75, "r5": 0.75, "r10": 0.75, "first": 0.5}
    with pytest.raises(ValueError, match="rankings of other queries"):
        ranking_agreement(first, ranking([0], [1]))


def test_a_part_of_the_queries_is_ranked_as_in_the_whole(gallery):
    images, captions, exact, image_of_caption = gallery
    whole = rerank_retrieval(images, captions, lookup(exact), image_of_caption, 10)
    chosen = (torch.tensor([3, 17, 30]), torch.tensor([2, 88]))
    part = rerank_retrieval(images, captions, lookup(exact), image_of_caption, 10, queries=chosen)
    for some, all_of_them, positions in zip(part, whole, chosen, strict=True):
        assert torch.equal(some.ranks.queries, positions)
        assert torch.equal(some.first, all_of_them.first[positions])
        assert torch.equal(some.ranks.level, all_of_them.ranks.level[positions])


def test_only_the_shortlists_are_scored_exactly_and_never_more_than_a_block_at_once(gallery):
    images, captions, exact, image_of_caption = gallery
    calls = []

    def counted(first, second):
        calls.append(len(first))
        return exact[first, second]

    rerank_retrieval(images, captions, counted, image_of_caption, 4, block=8)
    assert sum(calls) == 4 * (40 + 120)
    assert max(calls) == 4 * 8


def test_a_good_shortlist_gives_the_exact_recall(gallery):
    images, captions, exact, image_of_caption = gallery
    exact = images @ captions.T + 0.05 * exact
    ranked = rerank_retrieval(images, captions, lookup(exact), image_of_caption, 40)
    for found, right in zip(ranked, retrieval_ranks([exact], image_of_caption, 40), strict=True):
        assert recall(found.ranks, 1) == recall(right, 1)


@pytest.mark.parametrize("broken", ["cheap", "exact"])
def test_a_score_that_is_not_finite_is_an_error(broken):
    scores = {"cheap": torch.eye(3), "exact": torch.eye(3)}
    scores[broken][1, 1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        rerank(lambda q: scores["cheap"][q], lookup(scores["exact"]), torch.arange(3), torch.arange(3), 2)


def test_a_shortlist_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        rerank(lambda q: torch.eye(3)[q], lookup(torch.eye(3)), torch.arange(3), torch.arange(3), 0)
