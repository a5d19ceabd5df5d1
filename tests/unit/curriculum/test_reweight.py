import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tolerance import close
from vialign.methods.curriculum.reweight import AmbiguityWeights, ambiguity, normalise_weights


def signals(seed, count=16):
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(2, count, generator=stream, dtype=torch.float64)


@given(st.integers(0, 10_000), st.floats(0.01, 3), st.floats(0, 3))
def test_weights_have_mean_one_are_clipped_and_rise_with_ambiguity(seed, alpha, beta):
    consistency, entropy = signals(seed)
    raw = ambiguity(consistency, entropy, alpha, beta)
    np.testing.assert_allclose(raw, alpha * (1 - consistency) + beta * entropy)
    weights = normalise_weights(raw, raw.mean(), 0.5, 2.0)
    assert abs(float(weights.mean()) - 1) < 1e-9
    assert float(weights.max() / weights.min()) <= 4 + 1e-9
    assert bool((weights[raw.argsort()].diff() >= -1e-12).all())


def test_equal_ambiguity_and_no_ambiguity_give_equal_weights():
    for value in (0.0, 0.3):
        weights = normalise_weights(torch.full((4,), value), torch.tensor(value), 0.25, 4.0)
        torch.testing.assert_close(weights, torch.ones(4))


def test_the_level_is_a_moving_average_and_only_moves_in_training():
    module = AmbiguityWeights(1.0, 0.0, smoothing=0.75, weight_range=(0.25, 4.0))
    module(torch.tensor([0.0, 0.2]), torch.zeros(2))
    assert abs(float(module.level) - 0.9) <= close(torch.float32, 4)
    module(torch.tensor([1.0, 0.8]), torch.zeros(2))
    assert abs(float(module.level) - (0.75 * 0.9 + 0.25 * 0.1)) <= close(torch.float32, 8)
    module.eval()
    before = float(module.level)
    module(torch.tensor([0.5, 0.5]), torch.zeros(2))
    assert float(module.level) == before


def test_the_smoothed_level_decides_what_is_clipped():
    module = AmbiguityWeights(1.0, 0.0, smoothing=0.9, weight_range=(0.5, 2.0))
    module(torch.full((4,), 0.9), torch.zeros(4))
    # a batch three and nine times as ambiguous as usual: both clipped to 2, so equal
    weights = module(torch.tensor([0.7, 0.1, 0.1, 0.7]), torch.zeros(4))
    torch.testing.assert_close(weights, torch.ones(4))


def test_no_gradient_passes():
    consistency = torch.rand(4, requires_grad=True)
    module = AmbiguityWeights(1.0, 1.0, 0.9, (0.25, 4.0))
    assert not module(consistency, torch.rand(4)).requires_grad
