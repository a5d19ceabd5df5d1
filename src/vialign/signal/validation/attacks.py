"""Adversarial images through the frozen image tower: FGSM and PGD inside an L-infinity ball, in pixel space.

Pixels are in [0, 1], before the tower's own normalisation; `epsilon` is in the same unit. An untargeted attack lowers
the cosine with the true caption, a targeted one raises that with a given other caption.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from vialign.random import derive_seed

Encode = Callable[[Tensor], Tensor]
"""Pixels in [0, 1] (image, 3, height, width) to unit embeddings (image, dim); differentiable."""


def fgsm(
    encode: Encode,
    pixels: Float[Tensor, "image channel height width"],
    texts: Float[Tensor, "image dim"],
    epsilon: float,
    *,
    targeted: bool = False,
) -> Float[Tensor, "image channel height width"]:
    """One step of size `epsilon` along the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572)."""
    return step(pixels, direction(encode, pixels, texts, targeted=targeted), epsilon)


def direction(
    encode: Encode,
    pixels: Float[Tensor, "image channel height width"],
    texts: Float[Tensor, "image dim"],
    *,
    targeted: bool = False,
) -> Float[Tensor, "image channel height width"]:
    """The sign of the gradient of what the attack raises: where FGSM goes, for every epsilon."""
    return _gain_and_direction(encode, pixels, texts, targeted)[1]


def step(
    pixels: Float[Tensor, "image channel height width"],
    direction: Float[Tensor, "image channel height width"],
    epsilon: float,
) -> Float[Tensor, "image channel height width"]:
    """The images moved by `epsilon`, inside the range of pixels."""
    return (pixels + epsilon * direction).clamp(0, 1)


def pgd(
    encode: Encode,
    pixels: Float[Tensor, "image channel height width"],
    texts: Float[Tensor, "image dim"],
    epsilon: float,
    *,
    steps: int,
    restarts: int,
    seed: int,
    targeted: bool = False,
) -> Float[Tensor, "image channel height width"]:
    """Projected gradient descent from random points of the ball (Madry et al. 2018, arXiv:1706.06083).

    Of the points that all restarts visit the strongest is kept for each image. More restarts only add starts: those of
    fewer stay the same.
    """
    best, best_gain = pixels, torch.full((len(pixels),), -torch.inf, device=pixels.device)
    for number in range(restarts):
        rng = torch.Generator().manual_seed(derive_seed(seed, "pgd start", number))
        offset = 2 * torch.rand(pixels.shape, generator=rng).to(pixels) - 1
        start = (pixels + epsilon * offset).clamp(0, 1)
        found, gain = climb(encode, pixels, texts, epsilon, start, steps=steps, targeted=targeted)
        best, best_gain = _stronger(found, gain, best, best_gain)
    return best


def climb(
    encode: Encode,
    pixels: Float[Tensor, "image channel height width"],
    texts: Float[Tensor, "image dim"],
    epsilon: float,
    start: Float[Tensor, "image channel height width"],
    *,
    steps: int,
    targeted: bool = False,
) -> tuple[Float[Tensor, "image channel height width"], Float[Tensor, "image"]]:
    """One run of PGD from `start`, a point of the ball: the strongest point visited, and what it reaches.

    Steps of 2.5 epsilon / steps, as in the paper, so that the whole ball can be crossed.
    """
    current = start
    best, best_gain = start, torch.full((len(start),), -torch.inf, device=start.device)
    for _ in range(steps):
        gain, sign = _gain_and_direction(encode, current, texts, targeted)
        best, best_gain = _stronger(current, gain, best, best_gain)
        moved = current + 2.5 * epsilon / steps * sign
        current = torch.clamp(moved, pixels - epsilon, pixels + epsilon).clamp(0, 1)
    with torch.no_grad():
        return _stronger(current, _gain(encode(current), texts, targeted), best, best_gain)


def _stronger(one: Tensor, one_gain: Tensor, two: Tensor, two_gain: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the one of two versions that reaches more."""
    better = one_gain > two_gain
    return torch.where(better[:, None, None, None], one, two), torch.where(better, one_gain, two_gain)


def _gain(embeddings: Float[Tensor, "image dim"], texts: Float[Tensor, "image dim"], targeted: bool) -> Tensor:
    """What the attack raises, one value an image."""
    cosine = (embeddings * texts).sum(dim=-1)
    return cosine if targeted else -cosine


def _gain_and_direction(encode: Encode, pixels: Tensor, texts: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:
    """What is raised, and the sign of its gradient in the pixels."""
    pixels = pixels.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        gain = _gain(encode(pixels), texts, targeted)
    (gradient,) = torch.autograd.grad(gain.sum(), pixels)
    return gain.detach(), gradient.sign()
