"""Prototypes: their invariants, their geometry and their cost."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tolerance import close
from vialign.config.disentangle import VisualConfig
from vialign.disentangle.visual import VisualDisentangler, chosen_maps


def disentangler(seed=0, dimension=16, grid=(3, 4), atoms=6, background=2, prototypes=3):
    torch.manual_seed(seed)
    visual = VisualDisentangler(dimension, grid, atoms, background, prototypes, 0.1, 4)
    torch.nn.init.normal_(visual.up.weight, std=0.1)
    return visual


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_invariants(seed, batch):
    visual = disentangler(seed)
    prototypes = visual(torch.randn(batch, 12, 16) * 3 + 1)
    torch.testing.assert_close(prototypes.features.norm(dim=-1), torch.ones(batch, 3))
    torch.testing.assert_close(prototypes.mass.sum(dim=-1), torch.ones(batch))
    torch.testing.assert_close(prototypes.maps.sum(dim=-1), torch.ones(batch, 3))
    assert bool((prototypes.mass.diff(dim=-1) <= close(torch.float32, 16)).all())  # most active first
    assert bool(((prototypes.moments >= 0) & (prototypes.moments <= 1)).all())


def test_an_image_does_not_depend_on_its_batch_and_patches_carry_their_maps():
    visual = disentangler()
    patches = torch.randn(4, 12, 16)
    whole, alone = visual(patches), visual(patches[2:3])
    torch.testing.assert_close(whole.features[2:3], alone.features)
    order = torch.randperm(12)
    shuffled = visual(patches[:, order])
    torch.testing.assert_close(shuffled.features, whole.features)
    torch.testing.assert_close(shuffled.maps, whole.maps[..., order])


def test_a_common_component_in_the_mean_changes_nothing():
    visual, patches, common = disentangler(), torch.randn(2, 12, 16), torch.randn(16) * 10
    before = visual(patches)
    visual.mean += common
    torch.testing.assert_close(
        visual(patches + common).features, before.features, atol=close(torch.float32, 64, scale=10), rtol=0
    )


def test_moments_of_a_planted_map():
    """An object on the four patches of columns 2-3 and rows 0-1 of a 3 x 4 grid, everything else background."""
    visual = disentangler(atoms=1, background=1, prototypes=1)
    with torch.no_grad():
        visual.dictionary.copy_(torch.eye(16)[:2])
    patches = torch.eye(16)[1].repeat(1, 12, 1)
    patches[0, [2, 3, 6, 7]] = torch.eye(16)[0] * 5
    prototypes = visual(patches)
    expected = [0.75, 1 / 3, 1 / 8, 1 / 6, 4 / 12]
    assert prototypes.moments[0, 0].tolist() == pytest.approx(expected, abs=2e-3)
    assert prototypes.maps[0, 0, [2, 3, 6, 7]].sum().item() == pytest.approx(1, abs=1e-3)


def test_background_is_never_a_prototype():
    visual = disentangler(atoms=3, background=2, prototypes=3)
    parts = visual.parts(visual.dictionary[3:].detach().repeat(1, 6, 1))  # every patch is background
    assert int(parts.atoms.max()) < 3
    assert chosen_maps(parts).sum().item() < 1


def test_gradient_reaches_every_parameter():
    visual = disentangler()
    prototypes = visual(torch.randn(5, 12, 16))
    (prototypes.features.sum() + prototypes.moments.sum()).backward()
    for name, parameter in visual.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_half_precision_patches_are_read_as_single():
    visual, patches = disentangler(), torch.randn(2, 12, 16)
    torch.testing.assert_close(visual(patches.half()).features, visual(patches).features, atol=5e-3, rtol=5e-3)


def test_more_prototypes_than_atoms_is_refused():
    with pytest.raises(ValueError, match="4 prototypes cannot be made of 3 atoms"):
        VisualDisentangler(8, (2, 2), 3, 1, 4, 0.1, 2)


@pytest.mark.parametrize("dimension, limit", [(128, 13_000), (512, 60_000)])
def test_size_of_the_default(dimension, limit):
    visual = VisualDisentangler.from_config(VisualConfig(), dimension, (7, 7))
    assert sum(parameter.numel() for parameter in visual.parameters()) <= limit


def test_the_softmax_is_over_cosines():
    visual, patches = disentangler(), torch.randn(1, 12, 16)
    atoms = visual.dictionary.detach()
    logits = [float(torch.cosine_similarity(patches[0, 5], atom, dim=0)) / 0.1 for atom in atoms]
    total = sum(math.exp(value) for value in logits)
    expected = [math.exp(value) / total for value in logits]
    assert visual.parts(patches).assignment[0, 5].tolist() == pytest.approx(expected, abs=close(torch.float32, 32))
