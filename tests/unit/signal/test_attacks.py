import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tolerance import close
from vialign.signal.validation.attacks import climb, fgsm, pgd

REACHED = close(torch.float32, 75 + 72 + 256 + 12)
"""Two ways through the small tower of these tests to a cosine: the terms of its sums, layer by layer."""


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


def gain(encode, texts, targeted=False):
    """What an attack on the cosine raises."""
    return lambda pixels: (1 if targeted else -1) * (encode(pixels) * texts).sum(dim=-1)


def attack(name, encode, pixels, texts, epsilon, targeted=False, **more):
    raised = gain(encode, texts, targeted)
    if name == "fgsm":
        return fgsm(raised, pixels, epsilon)
    ((_, found),) = pgd(raised, pixels, [epsilon], **{"steps": 8, "restarts": 1, "seed": 0, **more})
    return found


def cosine(encode, pixels, texts) -> torch.Tensor:
    return (encode(pixels) * texts).sum(dim=-1)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("epsilon", [0.5 / 255, 8 / 255])
def test_inside_the_ball_and_inside_the_range(name, epsilon, encode, case):
    pixels, texts = case
    found = attack(name, encode, pixels, texts, epsilon)
    assert float((found - pixels).abs().max()) <= epsilon + close(torch.float32, 4)
    assert float((found - pixels).abs().max()) > 0.5 * epsilon
    assert found.min() >= 0 and found.max() <= 1 and not found.requires_grad


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_nothing_happens_at_epsilon_zero(name, targeted, encode, case):
    pixels, texts = case
    assert torch.equal(attack(name, encode, pixels, texts, 0.0, targeted=targeted), pixels)
    assert not torch.equal(attack(name, encode, pixels, texts, 1 / 255, targeted=targeted), pixels)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_success_grows_with_epsilon(name, targeted, encode, case):
    pixels, texts = case
    if targeted:
        texts = texts.roll(1, dims=0)
    reached = [cosine(encode, pixels, texts).mean()]
    for size in (1, 2, 4, 8):
        found = attack(name, encode, pixels, texts, size / 255, targeted=targeted)
        reached.append(cosine(encode, found, texts).mean())
    steps = torch.stack(reached).diff()
    assert (steps > 0).all() if targeted else (steps < 0).all()


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
    one, again, other = (attack("pgd", encode, pixels, texts, 4 / 255, steps=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_one_fgsm_step_is_the_sign_of_the_numerical_gradient(encode, case):
    pixels, texts = (tensor[2:3].double() for tensor in case)
    exact = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5, dtype=torch.float64)).requires_grad_(False)
    small, text = pixels[:, :, :4, :4].clamp(0.1, 0.9), texts[:, :5]

    def embed(values):
        return F.normalize(exact(values), dim=-1)

    moved = fgsm(gain(embed, text), small, 1e-3) - small
    for place in [(0, 0, 0), (1, 2, 3), (2, 3, 1)]:
        bump = torch.zeros_like(small)
        bump[(0, *place)] = 1e-5
        slope = (embed(small + bump) * text).sum() - (embed(small - bump) * text).sum()
        assert float(moved[(0, *place)].sign()) == float(-slope.sign())


def test_restarts_never_weaken_an_attack_and_strengthen_some(encode, case):
    pixels, texts = case
    few, more = (
        cosine(encode, attack("pgd", encode, pixels, texts, 8 / 255, steps=2, restarts=count), texts)
        for count in (1, 6)
    )
    assert (more <= few).all() and (more < few).any()


class FoolboxCosine:
    """The attacks of foolbox on the losses that ours raise: minus the cosine with a text, or the cosine, if targeted.

    foolbox raises a loss of labels; the labels are left unused.
    """

    def __init__(self, foolbox, encode, texts, targeted=False, start=None, **settings):
        import eagerpy

        class Module(nn.Module):
            def forward(self, pixels):
                return encode(pixels)

        def loss(self, model, labels):
            sign = 1 if targeted else -1
            return lambda inputs: sign * (model(inputs) * eagerpy.astensor(texts)).sum()

        members = {"get_loss_fn": loss}
        if start is not None:
            members["get_random_start"] = lambda self, x0, epsilon: eagerpy.astensor(start)
        base = foolbox.attacks.LinfPGD if settings else foolbox.attacks.LinfFastGradientAttack
        self.attack = type("OfCosines", (base,), members)(**settings)
        self.model = foolbox.PyTorchModel(Module().eval(), bounds=(0, 1))
        self.criterion = foolbox.criteria.Misclassification(torch.zeros(len(texts), dtype=torch.long))

    def __call__(self, pixels, epsilon):
        return self.attack.run(self.model, pixels, self.criterion, epsilon=epsilon)


@pytest.fixture(scope="module")
def foolbox():
    return pytest.importorskip("foolbox", reason="needs the test extra's foolbox")


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255])
def test_fgsm_is_that_of_foolbox(targeted, epsilon, foolbox, encode, case):
    pixels, texts = case
    theirs = FoolboxCosine(foolbox, encode, texts, targeted)(pixels, epsilon)
    torch.testing.assert_close(
        fgsm(gain(encode, texts, targeted), pixels, epsilon), theirs, atol=close(torch.float32, 4), rtol=0
    )


@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_takes_the_way_of_foolbox_from_the_same_start_and_keeps_its_best_point(targeted, foolbox, encode, case):
    pixels, texts = case
    if targeted:
        texts = texts.roll(1, dims=0)
    epsilon, steps = 8 / 255, 6
    offset = 2 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(5)) - 1
    start = (pixels + epsilon * offset).clamp(0, 1)
    visited = [start]
    for count in range(1, steps + 1):
        settings = {"steps": count, "abs_stepsize": 2.5 * epsilon / steps, "random_start": True}
        visited.append(FoolboxCosine(foolbox, encode, texts, targeted, start, **settings)(pixels, epsilon))
    reached = torch.stack([cosine(encode, point, texts) for point in visited])
    best = reached.amax(dim=0) if targeted else reached.amin(dim=0)
    found, raised = climb(gain(encode, texts, targeted), pixels, epsilon, start, steps=steps)
    torch.testing.assert_close(cosine(encode, found, texts), best, atol=REACHED, rtol=0)
    torch.testing.assert_close(raised if targeted else -raised, best, atol=REACHED, rtol=0)
    assert (best - cosine(encode, pixels, texts)).abs().min() > 0.005


def test_a_larger_epsilon_goes_on_from_a_smaller_one_and_never_harms_less(encode, case):
    pixels, texts = case
    found = list(pgd(gain(encode, texts), pixels, [8 / 255, 1 / 255, 2 / 255], steps=2, restarts=2, seed=0))
    assert [epsilon for epsilon, _ in found] == [1 / 255, 2 / 255, 8 / 255]
    reached = torch.stack([cosine(encode, images, texts) for _, images in found])
    assert (reached.diff(dim=0) < 0).all()
    for epsilon, images in found:
        assert float((images - pixels).abs().max()) <= epsilon + close(torch.float32, 4)
        alone = attack("pgd", encode, pixels, texts, epsilon, steps=8, restarts=2)
        drop = cosine(encode, pixels, texts) - cosine(encode, alone, texts)
        assert (cosine(encode, images, texts) - cosine(encode, alone, texts)).mean() < 0.25 * drop.mean()


def test_pgd_is_as_strong_as_that_of_foolbox_from_random_starts(foolbox, encode, case):
    pixels, texts = case
    torch.manual_seed(0)
    settings = {"steps": 8, "rel_stepsize": 2.5 / 8, "random_start": True}
    theirs = cosine(encode, FoolboxCosine(foolbox, encode, texts, **settings)(pixels, 4 / 255), texts)
    ours = cosine(encode, attack("pgd", encode, pixels, texts, 4 / 255), texts)
    dropped = cosine(encode, pixels, texts) - theirs
    torch.testing.assert_close(ours, theirs, atol=0.05 * float(dropped.mean()), rtol=0)
