"""S_local of every caption with every image of a gallery, by matrix products."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from vialign.disentangle.geometry import matched_with_geometry
from vialign.disentangle.types import Phrases, Prototypes


def all_local(prototypes: Prototypes, phrases: Phrases, *, geometry: bool = True) -> Float[Tensor, "text image"]:
    """S_local of all pairs, as `vialign.signal.score.local_similarity` gives it for one.

    Without `geometry` a relation phrase is matched by its feature, as any other. Memory is four numbers for every
    phrase of the texts with every prototype of the images, so give blocks of one side.
    """
    images, count, dimension = prototypes.features.shape
    texts, units, _ = phrases.features.shape
    matches = phrases.features.reshape(-1, dimension) @ prototypes.features.reshape(-1, dimension).T
    matches = matches.view(texts, units, images, count).masked_fill(prototypes.mass == 0, -1.0)
    best, place = matches.max(dim=-1)
    if geometry and phrases.direction is not None:
        told = phrases.direction.abs().sum(dim=-1) > 0
        text, unit = told.nonzero(as_tuple=True)
        every = torch.arange(images)
        subject, object_ = (
            prototypes.moments[every, place[text, index[text, unit].clamp_min(0)]]
            for index in (phrases.subject, phrases.object)
        )
        asked = phrases.direction[text, unit][:, None]
        best[text, unit] = matched_with_geometry(best[text, unit], subject, object_, asked)
    return einsum(phrases.weight, best, "t m, t m i -> t i")
