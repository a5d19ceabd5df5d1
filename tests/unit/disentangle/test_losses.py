"""Every loss against a loop or a value by hand, with its gradient."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tolerance import close
from vialign.disentangle import losses
from vialign.disentangle.moved import flip_correspondence

seeds = st.integers(0, 2**31)


def random_assignment(seed, batch=2, patches=6, atoms=4):
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=(batch, patches, atoms)))
    return torch.softmax(noise, dim=-1)


def random_coverage(seed, batch=2, targets=3, patches=6):
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(batch, targets, patches)) * (rng.random((batch, targets, 1)) < 0.8)
    return torch.from_numpy(values)


@given(seeds)
def test_reconstruction_is_the_unexplained_share(seed):
    rng = np.random.default_rng(seed)
    x, a, p = rng.normal(size=(2, 5, 3)), rng.random((2, 5, 2)), rng.normal(size=(2, 2, 3))
    expected = sum(
        np.sum((x[b, n] - sum(a[b, n, k] * p[b, k] for k in range(2))) ** 2) for b in range(2) for n in range(5)
    ) / np.sum(x**2)
    found = losses.reconstruction_loss(*(torch.from_numpy(value) for value in (x, a, p)))
    assert found.item() == pytest.approx(expected)


def test_sparsity_and_usage_at_their_ends():
    one_hot = torch.eye(4, dtype=torch.float64)[None]
    uniform = torch.full((1, 4, 4), 0.25, dtype=torch.float64)
    collapsed = torch.zeros(1, 4, 4, dtype=torch.float64)
    collapsed[..., 0] = 1
    assert losses.sparsity_loss(one_hot).item() == pytest.approx(0)
    assert losses.sparsity_loss(uniform).item() == pytest.approx(1)
    assert losses.usage_loss(one_hot).item() == pytest.approx(0)  # every atom has its patch
    assert losses.usage_loss(collapsed).item() == pytest.approx(1)


@given(seeds)
def test_purity_equals_the_loop(seed):
    assignment, coverage = random_assignment(seed), random_coverage(seed + 1)
    inside = total = 0.0
    for b in range(2):
        if coverage[b].sum() == 0:
            continue
        for atom in range(4):
            inside += max(float((assignment[b, :, atom] * coverage[b, t]).sum()) for t in range(3))
            total += float(assignment[b, :, atom].sum())
    expected = 1 - inside / total if total else 0.0
    assert losses.purity_loss(assignment, coverage).item() == pytest.approx(expected, abs=close(torch.float32, 64))


def test_purity_of_clean_and_of_mixed_atoms():
    coverage = torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    clean = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]])
    mixed = torch.tensor([[[1.0, 0], [0, 1], [1, 0], [0, 1]]])
    assert losses.purity_loss(clean, coverage).item() == pytest.approx(0)
    assert losses.extent_loss(clean, coverage).item() == pytest.approx(0)
    assert losses.purity_loss(mixed, coverage).item() == pytest.approx(0.5)
    assert losses.extent_loss(mixed, coverage).item() == pytest.approx(1 - 1 / 3)


@given(seeds)
def test_extent_equals_the_loop(seed):
    assignment, coverage = random_assignment(seed), random_coverage(seed + 1)
    best = []
    for b in range(2):
        for t in range(3):
            y = coverage[b, t]
            if y.sum() > 0:
                overlaps = []
                for atom in range(4):
                    a = assignment[b, :, atom]
                    shared = float((a * y).sum())
                    overlaps.append(shared / (float((a * a).sum() + (y * y).sum()) - shared))
                best.append(max(overlaps))
    expected = 1 - np.mean(best) if best else 0.0
    assert losses.extent_loss(assignment, coverage).item() == pytest.approx(expected, abs=close(torch.float32, 64))


def test_alignment_is_cross_entropy_over_the_distinct_labels_of_the_batch():
    embeddings = torch.eye(4)
    features = torch.stack([embeddings[2], embeddings[0], embeddings[2]])
    label, scale = torch.tensor([2, 0, 2]), torch.tensor(3.0)
    expected = -math.log(math.exp(3) / (math.exp(3) + 1))  # two labels in the batch, not four
    assert losses.alignment_loss(features, label, embeddings, scale).item() == pytest.approx(
        expected, abs=close(torch.float32, 64)
    )
    assert losses.alignment_loss(features[:1], label[:1], embeddings, scale).item() == 0


def test_stability_is_zero_exactly_when_maps_follow_the_image():
    grid = (3, 3)
    here = random_assignment(0, patches=9)
    there = here.reshape(2, 3, 3, 4).flip(2).reshape(2, 9, 4)
    correspondence = flip_correspondence(grid)
    assert losses.stability_loss(here, there, correspondence).item() == pytest.approx(0)
    assert losses.stability_loss(here, here, correspondence).item() > 0.01
    opposite = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    assert losses.stability_loss(*opposite, torch.tensor([0])).item() == pytest.approx(1)


@given(seeds)
def test_local_scores_equal_the_loop(seed):
    rng = np.random.default_rng(seed)
    p, u, w = rng.normal(size=(3, 4, 5)), rng.normal(size=(2, 3, 5)), rng.random((2, 3))
    expected = [[sum(w[t, m] * max(p[i] @ u[t, m]) for m in range(3)) for t in range(2)] for i in range(3)]
    found = losses.local_scores(*(torch.from_numpy(value) for value in (p, u, w)))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_caption_scores_lie_between_mean_and_best_match():
    rng = np.random.default_rng(0)
    p, c = (torch.from_numpy(rng.normal(size=shape)) for shape in ((3, 4, 5), (2, 5)))
    matches = torch.einsum("ikd,td->itk", p, c)
    found = losses.caption_scores(p, c)
    assert bool((found <= matches.amax(-1) + 1e-9).all() and (found >= matches.mean(-1) - 1e-9).all())
    torch.testing.assert_close(losses.caption_scores(p, c, sharpness=1e4), matches.amax(-1))


POOLS = torch.full((2, 4, 3), 0.1, dtype=torch.float64)
ASSIGNMENT_LOSSES = {
    "reconstruction": lambda a: losses.reconstruction_loss(random_assignment(5, atoms=3), a, POOLS),
    "sparsity": losses.sparsity_loss,
    "usage": losses.usage_loss,
    "purity": lambda a: losses.purity_loss(a, random_coverage(1)),
    "extent": lambda a: losses.extent_loss(a, random_coverage(1)),
    "stability": lambda a: losses.stability_loss(a, random_assignment(9), flip_correspondence((2, 3))),
}


@pytest.mark.parametrize("name", ASSIGNMENT_LOSSES)
def test_gradients_are_right(name):
    loss = ASSIGNMENT_LOSSES[name]
    logits = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    function = lambda values: loss(torch.softmax(values, dim=-1).to(torch.float64))  # noqa: E731
    assert torch.autograd.gradcheck(function, (logits,))
    function(logits).backward()
    assert float(logits.grad.abs().sum()) > 0
