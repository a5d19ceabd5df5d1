"""Adversarial images inside an L-infinity ball, in pixel space: FGSM and PGD on whatever is to be raised.

Pixels are in [0, 1], before the tower's own normalisation; `epsilon` is in the same unit. What an attack raises is a
function of pixels, so that every signal can be attacked by its own gradient (`vialign.signal.validation.targets`).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vialign.random import derive_seed

Gain = Callable[[Tensor], Tensor]
"""Pixels in [0, 1] (image, 3, height, width) to what an attack raises, one value an image; differentiable."""


def fgsm(
    gain: Gain, pixels: Float[Tensor, "image channel height width"], epsilon: float
) -> Float[Tensor, "image channel height width"]:
    """One step of size `epsilon` along the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572)."""
    return step(pixels, direction(gain, pixels), epsilon)


def direction(
    gain: Gain, pixels: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "image channel height width"]:
    """The sign of the gradient of what the attack raises: where FGSM goes, for every epsilon."""
    return _gain_and_direction(gain, pixels)[1]


def step(
    pixels: Float[Tensor, "image channel height width"],
    direction: Float[Tensor, "image channel height width"],
    epsilon: float,
) -> Float[Tensor, "image channel height width"]:
    """The images moved by `epsilon`, inside the range of pixels."""
    return (pixels + epsilon * direction).clamp(0, 1)


def pgd(
    gain: Gain,
    pixels: Float[Tensor, "image channel height width"],
    epsilons: Sequence[float],
    *,
    steps: int,
    restarts: int,
    seed: int,
    start: Float[Tensor, "image channel height width"] | None = None,
) -> Iterator[tuple[float, Float[Tensor, "image channel height width"]]]:
    """Projected gradient descent (Madry et al. 2018, arXiv:1706.06083); each epsilon, rising, with its images.

    A run starts at a random point of the smallest ball (the first one at `start`, where that is given) and goes on in
    every larger one from the strongest point of the one before, so that a larger epsilon never harms less and costs
    `steps` gradients alone. Of the points that all restarts visit the strongest is kept for each image. More restarts
    only add runs: those of fewer stay the same.
    """
    epsilons = sorted(epsilons)
    points = []
    for number in range(restarts):
        rng = torch.Generator().manual_seed(derive_seed(seed, "pgd start", number))
        offset = 2 * torch.rand(pixels.shape, generator=rng, device="cpu").to(pixels) - 1
        points.append((pixels + epsilons[0] * offset).clamp(0, 1))
    if start is not None:
        points[0] = start
    for epsilon in epsilons:
        best, best_gain = pixels, torch.full((len(pixels),), -torch.inf, device=pixels.device, dtype=pixels.dtype)
        for number, point in enumerate(points):
            points[number], reached = climb(gain, pixels, epsilon, point, steps=steps)
            best, best_gain = _stronger(points[number], reached, best, best_gain)
        yield epsilon, best


def climb(
    gain: Gain,
    pixels: Float[Tensor, "image channel height width"],
    epsilon: float,
    start: Float[Tensor, "image channel height width"],
    *,
    steps: int,
) -> tuple[Float[Tensor, "image channel height width"], Float[Tensor, "image"]]:
    """One run of PGD from `start`, a point of the ball: the strongest point visited, and what it reaches.

    Steps of 2.5 epsilon / steps, as in the paper, so that the whole ball can be crossed.
    """
    current = start
    best, best_gain = start, torch.full((len(start),), -torch.inf, device=start.device, dtype=start.dtype)
    for _ in range(steps):
        reached, sign = _gain_and_direction(gain, current)
        best, best_gain = _stronger(current, reached, best, best_gain)
        moved = current + 2.5 * epsilon / steps * sign
        current = torch.clamp(moved, pixels - epsilon, pixels + epsilon).clamp(0, 1)
    with torch.no_grad():
        return _stronger(current, gain(current), best, best_gain)


def _stronger(one: Tensor, one_gain: Tensor, two: Tensor, two_gain: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the one of two versions that reaches more."""
    better = one_gain > two_gain
    return torch.where(better[:, None, None, None], one, two), torch.where(better, one_gain, two_gain)


def _gain_and_direction(gain: Gain, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What is raised, and the sign of its gradient in the pixels."""
    pixels = pixels.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        reached = gain(pixels)
    (gradient,) = torch.autograd.grad(reached.sum(), pixels)
    return reached.detach(), gradient.sign()
