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
    direction = _ascent(encode, pixels, texts, targeted)
    return (pixels + epsilon * direction).clamp(0, 1)


def pgd(
    encode: Encode,
    pixels: Float[Tensor, "image channel height width"],
    texts: Float[Tensor, "image dim"],
    epsilon: float,
    *,
    steps: int,
    seed: int,
    targeted: bool = False,
) -> Float[Tensor, "image channel height width"]:
    """Projected gradient descent from a random point of the ball (Madry et al. 2018, arXiv:1706.06083).

    Steps of 2.5 epsilon / steps, as theirs, so that the whole ball can be crossed. Of the points visited the strongest
    is kept for each image.
    """
    rng = torch.Generator().manual_seed(derive_seed(seed, "pgd start"))
    start = 2 * torch.rand(pixels.shape, generator=rng).to(pixels) - 1
    current = (pixels + epsilon * start).clamp(0, 1)
    best, best_gain = pixels.clone(), torch.full((len(pixels),), -torch.inf, device=pixels.device)
    for step in range(steps + 1):
        current.requires_grad_(True)
        with torch.enable_grad():
            gain = _gain(encode(current), texts, targeted)
        better = gain.detach() > best_gain
        best = torch.where(better[:, None, None, None], current.detach(), best)
        best_gain = torch.where(better, gain.detach(), best_gain)
        if step == steps:
            break
        (gradient,) = torch.autograd.grad(gain.sum(), current)
        moved = current.detach() + 2.5 * epsilon / steps * gradient.sign()
        current = torch.clamp(moved, pixels - epsilon, pixels + epsilon).clamp(0, 1)
    return best


def _gain(embeddings: Float[Tensor, "image dim"], texts: Float[Tensor, "image dim"], targeted: bool) -> Tensor:
    """What the attack raises, one value an image."""
    cosine = (embeddings * texts).sum(dim=-1)
    return cosine if targeted else -cosine


def _ascent(encode: Encode, pixels: Tensor, texts: Tensor, targeted: bool) -> Tensor:
    pixels = pixels.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        gain = _gain(encode(pixels), texts, targeted)
    (gradient,) = torch.autograd.grad(gain.sum(), pixels)
    return gradient.sign()
