import numpy as np
import ot
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tolerance import close
from vialign.signal.transport import _log_domain_plan, sinkhorn_loss, sinkhorn_plan


def draw(rows: int, columns: int, seed: int, batch: int = 3) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)

    def vectors(count: int) -> torch.Tensor:
        return F.normalize(torch.randn(batch, count, 4, generator=rng, dtype=torch.float64), dim=-1)

    def shares(count: int) -> torch.Tensor:
        return torch.softmax(torch.randn(batch, count, generator=rng, dtype=torch.float64), dim=-1)

    return vectors(rows), shares(rows), vectors(columns), shares(columns)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 30, 300]), st.integers(0, 2**31))
@settings(max_examples=12)
def test_loss_equals_pot_after_as_many_iterations(rows, columns, iterations, seed):
    prototypes, mass, phrases, weight = draw(rows, columns, seed)
    found = sinkhorn_loss(prototypes, mass, phrases, weight, epsilon=0.1, iterations=iterations)
    for b in range(len(found)):
        cost = 1 - prototypes[b].numpy() @ phrases[b].numpy().T
        plan = ot.bregman.sinkhorn_log(
            mass[b].numpy(), weight[b].numpy(), cost, 0.1, numItermax=iterations, stopThr=-1, warn=False
        )
        assert float(found[b]) == pytest.approx(float((plan * cost).sum()), abs=1e-6)


def test_small_epsilon_approaches_the_exact_transport():
    prototypes, mass, phrases, weight = draw(4, 3, 5)
    found = sinkhorn_loss(prototypes, mass, phrases, weight, epsilon=0.005, iterations=5000)
    exact = [
        ot.emd2(mass[b].numpy(), weight[b].numpy(), 1 - prototypes[b].numpy() @ phrases[b].numpy().T) for b in range(3)
    ]
    np.testing.assert_allclose(found.numpy(), exact, atol=5e-3)


def test_marginals_hold():
    prototypes, mass, phrases, weight = draw(4, 5, 7)
    plan = sinkhorn_plan(1 - prototypes @ phrases.transpose(1, 2), mass, weight, epsilon=0.1, iterations=500)
    assert torch.allclose(plan.sum(dim=2), mass, atol=1e-12)
    assert torch.allclose(plan.sum(dim=1), weight, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("iterations", [1, 2, 30])
def test_scaling_gives_what_the_log_domain_gives(iterations, dtype):
    """Plans and all gradients, with rows and columns that are padding and an entry with an empty side."""
    prototypes, mass, phrases, weight = (tensor.to(dtype) for tensor in draw(5, 3, 23, batch=6))
    mass[1, 3:], weight[2, 1], weight[3], mass[4] = 0, 0, 0, 0
    start = 1 - prototypes @ phrases.transpose(1, 2)
    wanted = torch.randn(start.shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    found = []
    for way in (sinkhorn_plan, _log_domain_plan):
        given = [tensor.clone().requires_grad_() for tensor in (start, mass, weight)]
        plan = way(*given, 0.1, iterations)
        found.append((plan, *torch.autograd.grad((plan * wanted).sum(), given)))
    assert type(found[0][0].grad_fn) is not type(found[1][0].grad_fn)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(
            one, other, atol=close(dtype, iterations * 2 * 5) * 10, rtol=1e-3 if dtype == torch.float32 else 1e-9
        )


def test_costs_that_lie_far_apart_are_not_scaled():
    """exp(-200) is nothing in single precision: there the scaling vectors would be infinite."""
    prototypes, mass, phrases, weight = draw(4, 3, 29)
    cost = 1 - prototypes @ phrases.transpose(1, 2)
    expected = sinkhorn_plan(cost, mass, weight, 0.005, 50)
    found = sinkhorn_plan(cost.float(), mass.float(), weight.float(), 0.005, 50)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("iterations", [1, 30])
def test_gradients_equal_finite_differences(iterations):
    """Also before convergence: the gradient belongs to the value that is returned."""
    prototypes, mass, phrases, weight = (tensor.requires_grad_() for tensor in draw(3, 2, 11, batch=2))

    def loss(prototypes, mass, phrases, weight):
        return sinkhorn_loss(prototypes, mass, phrases, weight, epsilon=0.1, iterations=iterations)

    assert torch.autograd.gradcheck(loss, (prototypes, mass, phrases, weight), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_padding_changes_neither_loss_nor_gradients(dtype):
    prototypes, mass, phrases, weight = (tensor.to(dtype) for tensor in draw(3, 4, 13))
    plain = [prototypes.clone().requires_grad_(), phrases.clone().requires_grad_()]
    padded = [
        torch.cat([tensor, torch.zeros(3, 2, 4, dtype=dtype)], dim=1).requires_grad_()
        for tensor in (prototypes, phrases)
    ]
    zeros = torch.zeros(3, 2, dtype=dtype)
    one = sinkhorn_loss(plain[0], mass, plain[1], weight, epsilon=0.1, iterations=30)
    other = sinkhorn_loss(
        padded[0], torch.cat([mass, zeros], dim=1), padded[1], torch.cat([weight, zeros], dim=1), 0.1, 30
    )
    tolerance = close(dtype, 30 * 2 * 4)  # two sums over the other side in each of thirty iterations
    assert torch.allclose(one, other, atol=tolerance)
    one.sum().backward()
    other.sum().backward()
    for first, second in zip(plain, padded, strict=True):
        assert torch.allclose(first.grad, second.grad[:, : first.shape[1]], atol=tolerance)
        assert torch.equal(second.grad[:, first.shape[1] :], torch.zeros_like(second.grad[:, first.shape[1] :]))


def test_a_caption_without_phrases_costs_nothing_and_gives_no_nan():
    prototypes, mass, phrases, weight = (tensor.float() for tensor in draw(3, 2, 17))
    weight[1] = 0
    phrases.requires_grad_()
    prototypes.requires_grad_()
    loss = sinkhorn_loss(prototypes, mass, phrases, weight, epsilon=0.1, iterations=30)
    loss.sum().backward()
    assert float(loss[1].detach()) == 0.0 and float(loss[0].detach()) > 0
    assert torch.isfinite(phrases.grad).all() and torch.isfinite(prototypes.grad).all()
    assert float(phrases.grad[1].abs().sum()) == 0.0 and float(phrases.grad[0].abs().sum()) > 0


def test_matched_sets_cost_less_than_foreign_ones():
    prototypes, mass, _, _ = draw(4, 4, 19)
    own = sinkhorn_loss(prototypes, mass, prototypes, mass, epsilon=0.02, iterations=300)
    foreign = sinkhorn_loss(prototypes, mass, prototypes.roll(1, dims=0), mass.roll(1, dims=0), 0.02, 300)
    assert (own < 0.05).all() and (foreign > own + 0.1).all()
