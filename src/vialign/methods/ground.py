"""Word grounding: what the words of a caption look like in the training images, fitted in closed form.

A frozen text tower knows the words of its own training. On images that it never saw, a ridge regression (Hoerl and
Kennard 1970) from the words of a caption to the embedding of its image learns what they look like here, without a step
of gradient descent, which would learn so few captions by heart (docs/measurements.md, Real photographs).
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.features.facts import BackboneFacts

if TYPE_CHECKING:
    from vialign.device import OnDevice
    from vialign.methods.inputs import Words
    from vialign.methods.objective import SplitData

_ROWS = 4096
"""Captions of one step of the fit: its memory does not grow with their number."""


def word_width(facts: BackboneFacts) -> int:
    """Numbers of a text's `word_summary`."""
    return 2 * facts.state_width - facts.dimension


def word_summary(
    states: Float[Tensor, "text token state"], mask: Bool[Tensor, "text token"], dimension: int
) -> Float[Tensor, "text width"]:
    """Mean token state of each text, and the largest value of each number of its words' own embeddings.

    The mean blurs what single words say in a long caption; the largest value keeps a word however many others there
    are. `states` are as `Backbone.text_tokens` gives them, with the words' own embeddings behind the first `dimension`
    numbers. A text without a token of its own has zeros.
    """
    present = mask[..., None]
    states = states.float()
    mean = (states * present).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    own = states[..., dimension:]
    # A split without texts has no token to take the largest of either.
    largest = (
        own.masked_fill(~present, -torch.inf).amax(dim=1) if mask.shape[1] else own.new_zeros(len(own), own.shape[2])
    )
    return torch.cat([mean, torch.where(mask.any(dim=1)[:, None], largest, 0.0)], dim=1)


def required_words(data: "SplitData", method: str) -> "Float[Tensor, 'text width'] | Words | OnDevice":
    """What the words of a split say. Raises ValueError when it was loaded without."""
    if data.words is None:
        raise ValueError(f"{method} needs words: load the split with them")
    return data.words


class WordGrounding(nn.Module):
    """`norm(t + share · norm(W (words - mean) / deviation))` for unit vectors t; the identity until it is fitted.

    Nothing of it is trained by steps. With words of width w in D dimensions it stores w D + 2 w numbers.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, dimension: int, width: int, share: float, ridge: float) -> None:
        super().__init__()
        self.share, self.ridge = share, ridge
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("weight", torch.zeros(width, dimension))

    def forward(
        self, pooled: Float[Tensor, "text dim"], words: Float[Tensor, "text width"]
    ) -> Float[Tensor, "text dim"]:
        """Caption embeddings with their grounded words, unit length."""
        seen = (words - self.mean) / self.deviation @ self.weight
        return F.normalize(pooled + self.share * F.normalize(seen, dim=-1), dim=-1)

    @torch.no_grad()
    def fit(
        self,
        words: "Float[Tensor, 'text width'] | Words | OnDevice",
        images: Float[Tensor, "image dim"],
        captions: Int[Tensor, "caption"],
        image_of_caption: Int[Tensor, "caption"],
    ) -> None:
        """Minimise, over W, the mean squared error of a caption's standardised words to its image's centred embedding
        plus `ridge` · ‖W‖², in double precision, over the captions at these positions.
        """
        parts = captions.split(_ROWS)
        mean = torch.stack([words[part].double().sum(dim=0) for part in parts]).sum(dim=0) / len(captions)
        squares = torch.stack([(words[part].double() - mean).square().sum(dim=0) for part in parts]).sum(dim=0)
        deviation = (squares / len(captions)).sqrt()
        # A number that never changes says nothing, and must not be divided by.
        deviation = torch.where(deviation > 1e-6, deviation, 1.0)
        rows = torch.arange(len(images)).split(_ROWS)
        centre = torch.stack([images[part].double().sum(dim=0) for part in rows]).sum(dim=0) / len(images)
        gram = self.ridge * len(captions) * torch.eye(len(mean), dtype=torch.float64, device=mean.device)
        moment = gram.new_zeros(len(mean), images.shape[1])
        for part, owner in zip(parts, image_of_caption.split(_ROWS), strict=True):
            standardised = (words[part].double() - mean) / deviation
            gram += standardised.T @ standardised
            moment += standardised.T @ (images[owner].double() - centre)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
        self.weight.copy_(torch.linalg.solve(gram, moment))
