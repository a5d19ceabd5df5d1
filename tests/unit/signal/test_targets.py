"""What an attack raises, against finite differences of the scored pairs in double precision."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from planted import asked
from vialign.config.disentangle import VisualConfig
from vialign.disentangle.types import Phrases
from vialign.disentangle.visual import VisualDisentangler, VisualParts
from vialign.signal.calibration import LogisticCalibration, SignalCalibration
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.signal.validation.attacks import pgd
from vialign.signal.validation.targets import harm, stressed_signals

MAPS = SignalCalibration(LogisticCalibration(6.0, -2.0), LogisticCalibration(6.0, -1.0))
IMAGES, GRID = 5, (3, 3)
SIGNALS = ("s_global", "s_local", "s_local_plain", "s_sum", "consistency", "agreement", "consistency_raw")


@pytest.fixture(scope="module")
def world():
    """A small tower with a real dictionary of prototypes, and captions that relate two of their phrases."""
    torch.manual_seed(0)
    tower = nn.Conv2d(3, 12, 6, stride=6).double().requires_grad_(False)
    sizes = {"atoms": 8, "background": 2, "prototypes": 4, "temperature": 0.3}
    visual = VisualDisentangler.from_config(VisualConfig(**sizes), 12, GRID).double().requires_grad_(False)

    def encode(pixels):
        patches = tower(pixels - 0.5).flatten(2).transpose(1, 2)
        # `VisualDisentangler.parts` reads single precision, too coarse for differences.
        unit = F.normalize(patches - visual.mean, dim=-1)
        assignment = (unit @ F.normalize(visual.dictionary, dim=-1).T / visual.temperature).softmax(dim=-1)
        atoms = assignment[..., : visual.foreground].sum(dim=1).topk(visual.prototypes, dim=-1).indices
        return F.normalize(patches.mean(dim=1), dim=-1), visual.prototypes_of(VisualParts(unit, assignment, atoms))

    rng = torch.Generator().manual_seed(1)
    pixels = torch.rand(IMAGES, 3, 18, 18, generator=rng, dtype=torch.float64) * 0.8 + 0.1
    texts = F.normalize(torch.randn(IMAGES, 12, generator=rng, dtype=torch.float64), dim=-1)
    features = F.normalize(torch.randn(IMAGES, 3, 12, generator=rng, dtype=torch.float64), dim=-1)
    kind = torch.tensor([[1, 1, 3]]).expand(IMAGES, 3)
    ends = [torch.tensor([[-1, -1, end]]).expand(IMAGES, 3) for end in (0, 1)]
    weight = torch.full((IMAGES, 3), 1 / 3, dtype=torch.float64)
    # Half of the match of a relation is geometry, as of one that is not spatial.
    return encode, pixels, texts, Phrases(features, weight, kind, *ends, None, 0.5 * asked(features, *ends))


def raised(world, signal: str, targeted: bool = False):
    encode, _, texts, phrases = world
    return harm(lambda pixels: encode(pixels)[0], encode, texts, phrases, MAPS, signal, targeted=targeted)


def scored(world, pixels: torch.Tensor, config) -> pd.DataFrame:
    """The pairs as every other stage scores them."""
    encode, _, texts, phrases = world
    with torch.no_grad():
        pooled, prototypes = encode(pixels)
    names = [f"i{number}" for number in range(IMAGES)]
    pairs = pd.DataFrame({"image_id": names, "text_id": names, "kind": "aligned"})
    return score_pairs(pairs, SplitFeatures(names, pooled, prototypes, names, texts, phrases), MAPS, config, 0)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("signal", SIGNALS)
def test_what_is_raised_is_the_signal_with_its_sign_and_its_gradient_is_right(world, small_config, signal, targeted):
    pixels, step, sign = world[1], 1e-6, 1 if targeted else -1
    along = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moving = pixels.clone().requires_grad_()
    value = raised(world, signal, targeted)(moving)
    clean = sign * scored(world, pixels, small_config)[signal].to_numpy()
    np.testing.assert_allclose(value.detach().numpy(), clean, atol=1e-12)
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    ahead, behind = (scored(world, pixels + way * step * along, small_config)[signal] for way in (1, -1))
    slope = sign * (ahead - behind).to_numpy() / (2 * step)
    assert np.abs(slope).min() > 1e-4
    np.testing.assert_allclose((gradient * along).sum(dim=(1, 2, 3)).numpy(), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("signal", [name for name in SIGNALS if name != "s_global"])
def test_an_attack_on_a_signal_harms_it_more_than_one_on_the_global_similarity(world, small_config, signal):
    pixels = world[1]
    clean = scored(world, pixels, small_config)[signal]
    own, other = (
        next(pgd(raised(world, aim), pixels, [4 / 255], steps=6, restarts=1, seed=0))[1] for aim in (signal, "s_global")
    )
    lost = {name: (clean - scored(world, found, small_config)[signal]).mean() for name, found in
            (("own", own), ("other", other))}  # fmt: skip
    assert lost["own"] > 0 and lost["own"] > lost["other"] + 1e-4


def test_the_driver_both_local_similarities_and_the_sum_are_attacked_beside_the_global_one(small_config):
    assert stressed_signals(small_config) == ("consistency", "s_global", "s_local", "s_local_plain", "s_sum")
