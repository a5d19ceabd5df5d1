import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from tolerance import close
from vialign.disentangle.geometry import GEOMETRY, relative_geometry
from vialign.signal.score import (
    RelationQueries,
    agreement,
    consistency,
    local_similarity,
    match_entropy,
    phrase_matches,
)

sizes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(2, 6))
seeds = st.integers(0, 2**31)


def draw(size: tuple[int, int, int, int], seed: int) -> tuple[torch.Tensor, ...]:
    """Prototypes, mass, phrases and weight in float64; some prototypes and phrases are padding."""
    batch, prototypes, phrases, dim = size
    rng = torch.Generator().manual_seed(seed)

    def shares(count: int) -> torch.Tensor:
        values = torch.rand(batch, count, generator=rng, dtype=torch.float64) + 0.05
        absent = torch.rand(batch, count, generator=rng) < 0.3
        absent[:, 0] = False
        values = values.masked_fill(absent, 0)
        return values / values.sum(dim=1, keepdim=True)

    def vectors(count: int) -> torch.Tensor:
        return F.normalize(torch.randn(batch, count, dim, generator=rng, dtype=torch.float64), dim=-1)

    return vectors(prototypes), shares(prototypes), vectors(phrases), shares(phrases)


@given(sizes, seeds)
@settings(max_examples=40)
def test_local_similarity_and_entropy_equal_the_loop(size, seed):
    prototypes, mass, phrases, weight = draw(size, seed)
    temperature = 0.1
    similarity = local_similarity(prototypes, phrases, weight, mass)
    spread = match_entropy(prototypes, phrases, weight, temperature, mass)
    for b in range(size[0]):
        expected = expected_entropy = 0.0
        present = prototypes[b][mass[b] > 0].numpy()
        for m in range(size[2]):
            cosines = present @ phrases[b, m].numpy()
            expected += float(weight[b, m]) * cosines.max()
            expected_entropy += float(weight[b, m]) * entropy(softmax(cosines / temperature))
        assert float(similarity[b]) == pytest.approx(expected, abs=1e-12)
        assert float(spread[b]) == pytest.approx(expected_entropy / max(math.log(size[1]), 1e-9), abs=1e-9)
        assert -1e-12 <= float(spread[b]) <= 1 + 1e-12


def relational(size: tuple[int, int, int, int], seed: int) -> tuple[torch.Tensor, RelationQueries]:
    """Moments, and queries in which some phrases relate two others and the rest ask nothing."""
    batch, prototypes, phrases, _ = size
    rng = torch.Generator().manual_seed(seed)
    moments = torch.rand(batch, prototypes, 5, generator=rng, dtype=torch.float64)
    direction = F.normalize(torch.randn(batch, phrases, GEOMETRY, generator=rng, dtype=torch.float64), dim=-1)
    asks = torch.rand(batch, phrases, generator=rng) < 0.5
    index = torch.randint(0, phrases, (2, batch, phrases), generator=rng)
    subject, object_ = torch.where(asks, index[0], -1), torch.where(asks, index[1], -1)
    return moments, RelationQueries(direction * asks[..., None], subject, object_)


@given(sizes, seeds)
@settings(max_examples=40)
def test_a_relation_is_matched_with_the_geometry_of_its_arguments_as_in_the_loop(size, seed):
    prototypes, mass, phrases, weight = draw(size, seed)
    moments, queries = relational(size, seed)
    found = local_similarity(prototypes, phrases, weight, mass, moments, queries)
    for b in range(size[0]):
        cosines = torch.where(mass[b] > 0, phrases[b] @ prototypes[b].T, -1.0)
        expected = 0.0
        for m in range(size[2]):
            match = cosines[m].max()
            if queries.subject[b, m] >= 0:
                ends = [moments[b, cosines[index[b, m]].argmax()] for index in (queries.subject, queries.object)]
                geometry = relative_geometry(*ends)
                match = (geometry / geometry.norm()) @ queries.direction[b, m]
            expected += float(weight[b, m] * match)
        assert float(found[b]) == pytest.approx(expected, abs=1e-12)


@given(sizes, seeds)
@settings(max_examples=20)
def test_the_prototype_of_a_phrase_is_its_best_and_of_a_relation_that_of_its_subject(size, seed):
    prototypes, mass, phrases, _ = draw(size, seed)
    moments, queries = relational(size, seed)
    _, plain = phrase_matches(prototypes, phrases, mass)
    match, place = phrase_matches(prototypes, phrases, mass, moments, queries)
    for b in range(size[0]):
        best = torch.where(mass[b] > 0, phrases[b] @ prototypes[b].T, -1.0).max(dim=1)
        assert plain[b].tolist() == best.indices.tolist()
        for m, subject in enumerate(queries.subject[b].tolist()):
            assert place[b, m] == best.indices[m if subject < 0 else subject]
            assert subject >= 0 or float(match[b, m]) == pytest.approx(float(best.values[m]), abs=1e-12)


def test_exchanged_roles_change_the_score_of_a_relation_and_of_nothing_else():
    features = torch.eye(3, dtype=torch.float64)[None]
    above, below = [0.5, 0.2, 0.1, 0.1, 0.1], [0.5, 0.8, 0.1, 0.1, 0.1]
    moments = torch.tensor([[above, below, below]], dtype=torch.float64)
    weight = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    asks = F.normalize(relative_geometry(moments[0, 0], moments[0, 1]), dim=-1)
    direction = torch.stack([torch.zeros(GEOMETRY), torch.zeros(GEOMETRY), asks])[None].double()

    def score(subject: int, object_: int, told: bool = True) -> float:
        queries = RelationQueries(
            direction * told, torch.tensor([[-1, -1, subject]]), torch.tensor([[-1, -1, object_]])
        )
        return float(local_similarity(features, features, weight, None, moments, queries))

    assert score(0, 1) == pytest.approx(1.0)
    assert score(1, 0) < 0.9
    assert score(0, 1, told=False) == score(1, 0, told=False)


def test_padding_changes_neither_scores_nor_gradients():
    prototypes, mass, phrases, weight = draw((3, 4, 3, 5), 1)
    plain = [tensor.clone().requires_grad_() for tensor in (prototypes, phrases)]
    padded = [
        torch.cat([tensor, torch.zeros(3, 2, 5, dtype=torch.float64)], dim=1).requires_grad_()
        for tensor in (prototypes, phrases)
    ]
    zeros = torch.zeros(3, 2, dtype=torch.float64)
    more_mass, more_weight = torch.cat([mass, zeros], dim=1), torch.cat([weight, zeros], dim=1)
    local = local_similarity(plain[0], plain[1], weight, mass)
    also = local_similarity(padded[0], padded[1], more_weight, more_mass)
    spread = match_entropy(plain[0], plain[1], weight, 0.1, mass) * math.log(4)
    also_spread = match_entropy(padded[0], padded[1], more_weight, 0.1, more_mass) * math.log(6)
    assert torch.allclose(local, also, atol=1e-12)
    assert torch.allclose(spread, also_spread, atol=1e-12)
    (local + spread).sum().backward()
    (also + also_spread).sum().backward()
    for one, other in zip(plain, padded, strict=True):
        assert torch.allclose(one.grad, other.grad[:, : one.shape[1]], atol=1e-12)
        assert torch.equal(other.grad[:, one.shape[1] :], torch.zeros_like(other.grad[:, one.shape[1] :]))


def test_gradient_reaches_every_phrase_with_weight_and_none_without():
    prototypes, mass, phrases, weight = draw((4, 3, 4, 5), 2)
    phrases.requires_grad_()
    local_similarity(prototypes, phrases, weight, mass).sum().backward()
    reached = phrases.grad.abs().sum(dim=-1) > 0
    assert torch.equal(reached, weight > 0)


def test_entropy_ends():
    phrase, weight = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1)
    alike = torch.tensor([[[0.0, 1.0], [0.0, -1.0], [0.0, 1.0]]])
    clear = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]])
    assert float(match_entropy(alike, phrase, weight, 0.05)) == pytest.approx(1.0, abs=close(torch.float32, 8))
    assert float(match_entropy(clear, phrase, weight, 0.05)) == pytest.approx(0.0, abs=close(torch.float32, 8))
    assert float(match_entropy(alike[:, :1], phrase, weight, 0.05)) == 0.0


unit = st.floats(0, 1)


@given(unit, unit)
def test_consistency_and_agreement_by_their_formulas(first, second):
    one, two = torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64)
    c = 1 - abs(first - second)
    assert float(consistency(one, two)) == pytest.approx(c)
    assert float(agreement(one, two)) == pytest.approx(first * second)
    assert 0 <= float(agreement(one, two)) <= float(consistency(one, two)) <= 1


@given(unit, unit)
def test_agreement_is_the_part_of_two_votes_saying_the_same_that_says_yes(first, second):
    votes = {(a, b): (first if a else 1 - first) * (second if b else 1 - second) for a in (0, 1) for b in (0, 1)}
    one, two = torch.tensor([first], dtype=torch.float64), torch.tensor([second], dtype=torch.float64)
    assert float(agreement(one, two)) == pytest.approx(votes[1, 1])


def test_agreement_mends_the_blind_spot_of_consistency():
    low, high = torch.tensor([0.02]), torch.tensor([0.98])
    assert float(consistency(low, low)) == float(consistency(high, high)) == 1.0
    assert float(agreement(low, low)) < 0.05 and float(agreement(high, high)) > 0.95


def test_consistency_has_a_gradient_towards_agreement():
    s_global, s_local = torch.tensor([0.9, 0.2], requires_grad=True), torch.tensor([0.4, 0.6])
    consistency(s_global, s_local).sum().backward()
    assert np.sign(s_global.grad.numpy()).tolist() == [-1.0, 1.0]
