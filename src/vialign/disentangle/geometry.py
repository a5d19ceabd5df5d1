"""Where one prototype lies as seen from another, and how well a relation phrase fits that."""

from itertools import islice

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vialign.disentangle.types import RELATION, Phrases, Prototypes

GEOMETRY = 8
"""Numbers that `relative_geometry` gives."""
ADDED = 0.5
"""Share of geometry in the match of a relation that is not spatial: what is seen and where it lies weigh the same. It
was not searched."""


def relative_geometry(
    subject: Float[Tensor, "*subjects"], object_: Float[Tensor, "*objects"], dim: int = -1
) -> Float[Tensor, "*pairs"]:
    """Where the subject lies as seen from the object, from the moments of both maps, scaled to order one.

    The five moments lie along `dim`: mean x, mean y, standard deviation of x and y (image widths or heights) and area
    fraction. The result has eight numbers there: offset in x and y, their absolute values, log ratio of the areas,
    difference of the extents in x and y, closeness. All zero but the closeness (1) when both are the same prototype.
    """
    ends = zip(subject.unbind(dim), object_.unbind(dim), strict=True)
    x, y, wide, high = (4 * (one - other) for one, other in islice(ends, 4))
    ((one, other),) = ends
    area = ((one + 0.01) / (other + 0.01)).log()
    closeness = (-0.5 * (x.square() + y.square())).exp()
    return torch.stack([x, y, x.abs(), y.abs(), area, wide, high, closeness], dim=dim)


def relation_matches(
    subject: Float[Tensor, "*pair 5"], object_: Float[Tensor, "*pair 5"], direction: Float[Tensor, "*other 8"]
) -> Float[Tensor, "*pair"]:
    """Cosine of a relation phrase's direction with the relative geometry of its two arguments, times its length.

    `subject` and `object_` are the moments of the prototypes that the arguments match best. A direction of zeros
    gives 0.
    """
    return (functional.normalize(relative_geometry(subject, object_), dim=-1) * direction).sum(dim=-1)


def matched_with_geometry(
    visual: Float[Tensor, "*match"],
    subject: Float[Tensor, "*match 5"],
    object_: Float[Tensor, "*match 5"],
    direction: Float[Tensor, "*other 8"],
) -> Float[Tensor, "*match"]:
    """Match of a phrase: what it looks like, and for a relation how its arguments lie, by the share of geometry.

    `visual` is the best cosine of the phrase with a prototype. The length of `direction` is the share of geometry in
    the match (`Phrases.direction`): 1 for a spatial relation, `ADDED` for any other, to which geometry adds without
    replacing what is seen, and 0 for a phrase that is no relation. This is the one place that mixes the two.
    """
    return (1 - direction.norm(dim=-1)) * visual + relation_matches(subject, object_, direction)


def argument_geometry(
    prototypes: Prototypes, phrases: Phrases
) -> tuple[Bool[Tensor, "text unit"], Float[Tensor, "text unit 8"], Float[Tensor, "text unit 8"]]:
    """Geometry that each relation's arguments have in their own image: where there is one, as said, and reversed.

    Row b of `phrases` belongs to row b of `prototypes`. An argument lies where the prototype that matches it best lies.
    Both geometries are unit vectors.
    """
    matches = torch.einsum("bmd,bkd->bmk", phrases.features, prototypes.features)
    place = matches.masked_fill(prototypes.mass[:, None, :] == 0, -1.0).argmax(dim=-1)
    places = prototypes.moments.gather(1, place[..., None].expand(-1, -1, 5))
    subject, object_ = (
        places.gather(1, index.clamp_min(0)[..., None].expand(-1, -1, 5)) for index in (phrases.subject, phrases.object)
    )
    told = (phrases.kind == RELATION) & (phrases.subject >= 0) & (phrases.object >= 0)
    forward, backward = relative_geometry(subject, object_), relative_geometry(object_, subject)
    return told, functional.normalize(forward, dim=-1), functional.normalize(backward, dim=-1)


def relation_loss(prototypes: Prototypes, phrases: Phrases, scale: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Cross-entropy of each relation phrase's direction over the geometries of all relations of the batch.

    Its own geometry is right; wrong are those of the other relations and its own with the roles exchanged, so that
    "above" must tell itself from "left of" and from "below" alike. 0 when the batch has no relation.
    """
    assert phrases.direction is not None
    told, forward, backward = argument_geometry(prototypes, phrases)
    direction = phrases.direction[told]
    if not len(direction):
        return phrases.direction.sum() * 0
    logits = scale * direction @ forward[told].T
    reversed_own = scale * (direction * backward[told]).sum(dim=-1, keepdim=True)
    own = torch.arange(len(direction), device=direction.device)
    return functional.cross_entropy(torch.cat([logits, reversed_own], dim=1), own)
