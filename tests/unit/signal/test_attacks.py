import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vialign.signal.validation.attacks import fgsm, pgd


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    """A small random image tower, frozen, that makes unit embeddings."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.GELU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.GELU(),
        nn.Flatten(),
        nn.LazyLinear(12),
    )
    layers(torch.zeros(1, 3, 24, 24))
    return layers.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def encode(tower):
    return lambda pixels: F.normalize(tower((pixels - 0.5) / 0.25), dim=-1)


@pytest.fixture(scope="module")
def case(encode) -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and captions near their embeddings."""
    rng = torch.Generator().manual_seed(1)
    pixels = torch.rand(8, 3, 24, 24, generator=rng)
    pixels[0] = 0.0
    pixels[1] = 1.0
    texts = F.normalize(encode(pixels) + 0.1 * torch.randn(8, 12, generator=rng), dim=-1)
    return pixels, texts


def attack(name, encode, pixels, texts, epsilon, **more):
    if name == "fgsm":
        return fgsm(encode, pixels, texts, epsilon, **more)
    return pgd(encode, pixels, texts, epsilon, steps=8, seed=0, **more)


def cosine(encode, pixels, texts) -> torch.Tensor:
    return (encode(pixels) * texts).sum(dim=-1)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("epsilon", [0.5 / 255, 8 / 255])
def test_inside_the_ball_and_inside_the_range(name, epsilon, encode, case):
    pixels, texts = case
    found = attack(name, encode, pixels, texts, epsilon)
    assert float((found - pixels).abs().max()) <= epsilon + 1e-6
    assert float((found - pixels).abs().max()) > 0.5 * epsilon
    assert found.min() >= 0 and found.max() <= 1 and not found.requires_grad


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_nothing_happens_at_epsilon_zero(name, encode, case):
    pixels, texts = case
    assert torch.equal(attack(name, encode, pixels, texts, 0.0), pixels)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_success_grows_with_epsilon(name, encode, case):
    pixels, texts = case
    means = [float(cosine(encode, pixels, texts).mean())]
    means += [
        float(cosine(encode, attack(name, encode, pixels, texts, size / 255), texts).mean()) for size in (0.5, 1, 2, 4)
    ]
    assert all(later < earlier for earlier, later in zip(means, means[1:], strict=False))


def test_pgd_is_at_least_as_strong_as_fgsm_and_noise_is_not(encode, case):
    pixels, texts = case
    clean = cosine(encode, pixels, texts)
    noise = (pixels + 4 / 255 * (2 * torch.randint(0, 2, pixels.shape) - 1)).clamp(0, 1)
    one, many = (cosine(encode, attack(name, encode, pixels, texts, 4 / 255), texts).mean() for name in ("fgsm", "pgd"))
    assert many <= one + 1e-4
    assert clean.mean() - one > 3 * (clean.mean() - cosine(encode, noise, texts).mean()).abs()


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_a_targeted_attack_moves_towards_its_target(name, encode, case):
    pixels, texts = case
    other = texts.roll(1, dims=0)
    found = attack(name, encode, pixels, other, 4 / 255, targeted=True)
    assert (cosine(encode, found, other) > cosine(encode, pixels, other)).all()


def test_pgd_repeats_by_seed_and_leaves_the_tower_alone(tower, encode, case):
    pixels, texts = case
    one, again, other = (pgd(encode, pixels, texts, 4 / 255, steps=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_one_fgsm_step_is_the_sign_of_the_numerical_gradient(encode, case):
    pixels, texts = (tensor[2:3].double() for tensor in case)
    exact = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5, dtype=torch.float64)).requires_grad_(False)
    small, text = pixels[:, :, :4, :4].clamp(0.1, 0.9), texts[:, :5]

    def embed(values):
        return F.normalize(exact(values), dim=-1)

    moved = fgsm(embed, small, text, 1e-3) - small
    for place in [(0, 0, 0), (1, 2, 3), (2, 3, 1)]:
        bump = torch.zeros_like(small)
        bump[(0, *place)] = 1e-5
        slope = (embed(small + bump) * text).sum() - (embed(small - bump) * text).sum()
        assert float(moved[(0, *place)].sign()) == float(-slope.sign())
