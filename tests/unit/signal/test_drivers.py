import pytest
import torch

from planted import CALIBRATION
from tolerance import close
from vialign.signal.drivers import BlindDriver, SignalDriver, oracle
from vialign.signal.score import agreement, consistency

C = SignalDriver("consistency", CALIBRATION)


@pytest.fixture
def pairs():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 4, generator=draw).double(), torch.rand(2, 3, 4, generator=draw).double()


def test_every_signal_is_its_formula(pairs):
    seen, found = CALIBRATION.s_global.torch(pairs[0]), CALIBRATION.s_local.torch(pairs[1])
    expected = {
        "consistency": 1 - (seen - found).abs(),
        "consistency_raw": consistency(*pairs),
        "agreement": agreement(seen, found),
        "s_global": seen,
        "s_local": found,
        "s_sum": (seen + found) / 2,
    }
    for name, value in expected.items():
        bound = close(torch.float64, 4)
        torch.testing.assert_close(SignalDriver(name, CALIBRATION)(*pairs), value, atol=bound, rtol=0)
    with pytest.raises(ValueError, match="no signal 's_locall'; there are consistency, "):
        SignalDriver("s_locall", CALIBRATION)


@pytest.mark.parametrize("name", ["consistency", "consistency_raw", "agreement", "s_global", "s_local", "s_sum"])
def test_signals_pass_exact_gradients(pairs, name):
    inputs = [values.clone().requires_grad_() for values in pairs]
    assert torch.autograd.gradcheck(lambda a, b: SignalDriver(name, CALIBRATION)(a, b).sum(), inputs)


def test_a_constant_is_the_mean_of_its_values_for_every_pair(pairs):
    constant = BlindDriver("constant", C, torch.tensor([0.2, 0.4, 0.9]), 0)
    assert constant(*pairs).unique().tolist() == pytest.approx([0.5])


def test_a_shuffle_has_the_values_of_the_pairs_scored_together_and_not_their_places(pairs):
    shuffled = BlindDriver("shuffled", C, torch.empty(0), 0)
    found, own = shuffled(*pairs), C(*pairs)
    assert torch.equal(found.flatten().sort().values, own.flatten().sort().values)
    assert not torch.equal(found, own) and torch.equal(found, shuffled(*pairs))
    assert not torch.equal(found, BlindDriver("shuffled", C, torch.empty(0), 1)(*pairs))


def test_noise_has_the_distribution_of_its_values_and_knows_nothing_of_its_pair():
    values = torch.tensor([0.1, 0.1, 0.7, 0.9])
    similarity = torch.linspace(0, 1, 40_000)
    drawn = BlindDriver("noise", C, values, 0)(similarity, similarity)
    shares = [(drawn == value).double().mean().item() for value in (0.1, 0.7, 0.9)]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    assert abs(torch.corrcoef(torch.stack([drawn, similarity]))[0, 1]) < 0.03


@pytest.mark.parametrize("kind", ["constant", "shuffled", "noise"])
def test_blind_drivers_pass_no_gradient(pairs, kind):
    inputs = [values.clone().requires_grad_() for values in pairs]
    assert not BlindDriver(kind, C, torch.tensor([0.5]), 0)(*inputs).requires_grad


def test_the_oracle_says_which_pairs_are_aligned(pairs):
    same = torch.eye(3, 4).bool().expand(2, 3, 4)
    assert torch.equal(oracle(*pairs, same), same.double()) and oracle(*pairs).unique().tolist() == [1.0]


def test_an_unknown_blind_driver_is_refused():
    with pytest.raises(ValueError, match="no blind driver 'guess'; there are constant, shuffled, noise"):
        BlindDriver("guess", C, torch.empty(0), 0)
