"""The contrastive loss of dual encoders, which pretraining, disentanglers and every method share."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrastive_loss(
    logits: Float[Tensor, "batch batch"], weights: Float[Tensor, "batch"] | None = None
) -> Float[Tensor, ""]:
    """Symmetric contrastive loss, image to text and text to image (Radford et al. 2021, arXiv:2103.00020, figure 3).

    `logits[i, j]` is the scaled similarity of image i and text j; image i goes with text i. `weights` multiply each
    pair's own terms; they are expected to have mean 1.
    """
    losses = pair_losses(logits)
    return losses.mean() if weights is None else (weights * losses).mean()


def pair_losses(logits: Float[Tensor, "batch batch"]) -> Float[Tensor, "batch"]:
    """The terms of `contrastive_loss`: of each pair the mean of both directions."""
    target = torch.arange(len(logits), device=logits.device)
    return 0.5 * (
        F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")
    )
