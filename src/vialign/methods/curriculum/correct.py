"""Adaptive feature correction: the image embedding is corrected by what the caption's phrases find in the image.

    g̃_v(i|t) = norm(g_v + γ(C) · (A z(i, t) + λ S(i, t) g_t)),    z(i, t) = Σ_m h(u_m) ∘ Eᵀ p̄_m(i, t)

(docs/method.md#43-correction; the term with λ is one more column of A, the one that the caption itself generates.)
Each phrase unit attends over the image's prototypes. A unit concerns two of them: what its subject attends to and what
its object attends to (an entity is both itself; an attribute has the entity it modifies as subject and itself as
object). The fusion reads both features and their relative geometry, multiplied by h(u), which the phrase generates.
So "above" picks the vertical offset, and exchanging the roles turns the sign of what it multiplies. S is S_local less
its level at which a pair is as likely aligned as random: an image moves towards a caption by what the caption's phrases
find in it, and away from one whose phrases find nothing.

Scoring all pairs never forms g̃_v. Attention, S_local and the projections of prototypes are matrix products of one side
with the other; only z, of length rank, exists for each pair, and the norm follows from the Gram matrix of A:
|g_v + γ A z|² = 1 + 2 γ (Aᵀ g_v)·z + γ² zᵀ(AᵀA)z. The term with λ lies along g_t, so it needs no product of its own.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vialign.disentangle.geometry import GEOMETRY, relative_geometry
from vialign.methods.curriculum.head import drawn
from vialign.signal.score import ABSENT

SUPPORT_STEP = 10.0
"""λ in units of its parameter: Adam moves that by about the learning rate a step, and λ belongs near 1."""
_KINDS = 4
"""None, entity, attribute, relation."""


class FeatureCorrection(nn.Module):
    """The conditional bilinear fusion and its gate; A and λ start at zero, so the score starts uncorrected."""

    def __init__(self, dimension: int, rank: int, query_rank: int, temperature: float, seed: int) -> None:
        super().__init__()
        self.write = nn.Parameter(torch.zeros(dimension, rank))
        """A."""
        self.support = nn.Parameter(torch.zeros(()))
        """λ over `SUPPORT_STEP`."""
        self.read = drawn((dimension, rank), 1.0, seed, "correct.read")
        """E, for unit vectors: entries of its products are of order one."""
        self.roles = drawn((2, rank), 1.0, seed, "correct.roles")
        """Factors of E's products for the subject and for the object."""
        self.geometry = drawn((GEOMETRY, rank), 1.0, seed, "correct.geometry")
        """The rows of E that read relative geometry."""
        self.generate = drawn((dimension, rank), 1.0, seed, "correct.generate")
        """h, linear in the phrase."""
        self.directed = drawn((GEOMETRY, rank), 1.0, seed, "correct.directed")
        """h, linear in the geometry that a relation phrase asks for."""
        self.kinds = drawn((_KINDS, rank), 0.5, seed, "correct.kinds")
        """h's offset for each kind of unit."""
        self.query_down = drawn((dimension, query_rank), dimension**-0.5, seed, "correct.query")
        self.query_up = nn.Parameter(torch.zeros(query_rank, dimension))
        """Low-rank change of the phrases when they attend."""
        self.log_temperature = nn.Parameter(torch.tensor(float(temperature)).log())
        self.gate = nn.Parameter(torch.zeros(2))
        """Offset and log slope of γ(C) = sigmoid(offset + exp(log slope) · (1 - C)), which falls with C."""

    def changes_nothing(self) -> bool:
        """Whether A and λ are zero, as they start: then every corrected score is the uncorrected one."""
        return not bool(self.write.any()) and not bool(self.support)

    def image_side(self, prototypes: Float[Tensor, "image prototype dim"]) -> Float[Tensor, "image prototype rank"]:
        """What the fusion reads of each prototype: Eᵀ p."""
        return prototypes @ self.read

    def text_side(
        self,
        phrases: Float[Tensor, "text phrase dim"],
        weight: Float[Tensor, "text phrase"],
        kind: Int[Tensor, "text phrase"],
        subject: Int[Tensor, "text phrase"],
        object_: Int[Tensor, "text phrase"],
        direction: Float[Tensor, "text phrase 8"],
    ) -> dict[str, Tensor]:
        """What each caption brings: its attention queries and the parameters that its phrases generate.

        `factor` multiplies Eᵀ p̄ of the unit that attends: the sum of h over the units whose subject or object it is.
        `generated` is h of each unit, weighted. `subject` and `object` have the unit itself where there was none.
        """
        itself = torch.arange(phrases.shape[1], device=phrases.device).expand_as(subject)
        first, second = torch.where(subject < 0, itself, subject), torch.where(object_ < 0, itself, object_)
        generated = weight[..., None] * (phrases @ self.generate + direction @ self.directed + self.kinds[kind])
        factor = torch.zeros_like(generated)
        for role, index in zip(self.roles, (first, second), strict=True):
            factor = factor.scatter_add(1, index[..., None].expand_as(generated), generated * role)
        return {
            "query": phrases @ self.query_down,
            "factor": factor,
            "generated": generated,
            "subject": first,
            "object": second,
        }

    def fusion(
        self,
        matches: Float[Tensor, "group image prototype text phrase"],
        prototypes: Float[Tensor, "group image prototype dim"],
        mass: Float[Tensor, "group image prototype"],
        moments: Float[Tensor, "group image prototype 5"],
        read: Float[Tensor, "group image prototype rank"],
        texts: dict[str, Tensor],
    ) -> Float[Tensor, "group image text rank"]:
        """z of every image with every text of its group; `matches` are the cosines of prototypes and phrases."""
        group, images, count, items, units = matches.shape
        rank = read.shape[-1]
        keys = (prototypes @ self.query_up.T).reshape(group, images * count, -1)
        change = keys @ texts["query"].reshape(group, items * units, -1).transpose(1, 2)
        logits = (matches + change.view_as(matches)) / self.log_temperature.exp()
        logits = logits.masked_fill((mass == 0)[..., None, None], ABSENT)
        attention = logits.softmax(dim=2).reshape(group, images, count, items * units).transpose(2, 3)
        content = (attention @ read).view(group, images, items, units, rank)
        seen = (content * texts["factor"][:, None]).sum(dim=3)
        places = (attention @ moments).view(group, images, items, units, 5)
        relative = relative_geometry(_pick(places, texts["subject"]), _pick(places, texts["object"])).reshape(
            group, images, items, units * GEOMETRY
        )
        directions = (texts["generated"][..., None, :] * self.geometry).reshape(group, items, units * GEOMETRY, rank)
        placed = (relative.transpose(1, 2) @ directions).transpose(1, 2)
        return (seen + placed) / rank**0.5

    def corrected(
        self,
        z: Float[Tensor, "group image text rank"],
        images: Float[Tensor, "group image dim"],
        texts: Float[Tensor, "group text dim"],
        s_global: Float[Tensor, "group image text"],
        consistency: Float[Tensor, "group image text"],
        support: Float[Tensor, "group image text"],
    ) -> Float[Tensor, "group image text"]:
        """cos(g_v + γ(C) (A z + λ S g_t), g_t), from products with A and its Gram matrix; `support` is S."""
        gamma = self.strength(consistency)
        along_text = torch.einsum("gitr,gtr->git", z, texts @ self.write)
        along_image = torch.einsum("gitr,gir->git", z, images @ self.write)
        square = ((z @ (self.write.T @ self.write)) * z).sum(dim=-1)
        cosine = s_global + gamma * along_text
        towards = gamma * SUPPORT_STEP * self.support * support
        square = 1 + 2 * gamma * along_image + gamma.square() * square + towards * (2 * cosine + towards)
        return (cosine + towards) / square.clamp_min(1e-8).sqrt()

    def strength(self, consistency: Float[Tensor, "*pair"]) -> Float[Tensor, "*pair"]:
        """γ(C) in (0, 1): falls with C, so a pair whose two alignments agree is corrected less."""
        return torch.sigmoid(self.gate[0] + self.gate[1].exp() * (1 - consistency))


def local_matches(
    prototypes: Float[Tensor, "group image prototype dim"], phrases: Float[Tensor, "group text phrase dim"]
) -> Float[Tensor, "group image prototype text phrase"]:
    """Cosines of every prototype with every phrase of its group, by one matrix product a group."""
    group, images, count, dimension = prototypes.shape
    _, texts, units, _ = phrases.shape
    product = prototypes.reshape(group, -1, dimension) @ phrases.reshape(group, -1, dimension).transpose(1, 2)
    return product.view(group, images, count, texts, units)


def local_scores(
    matches: Float[Tensor, "group image prototype text phrase"],
    mass: Float[Tensor, "group image prototype"],
    moments: Float[Tensor, "group image prototype 5"],
    texts: dict[str, Tensor],
) -> Float[Tensor, "group image text"]:
    """S_local from the cosines, as `vialign.signal.score.local_similarity`.

    Few units of a caption ask for geometry, so only theirs is looked up, in a table of all pairs of prototypes.
    """
    best, place = matches.masked_fill((mass == 0)[..., None, None], -1.0).max(dim=2)
    group, images, items, units = best.shape
    direction, weight = texts["direction"], texts["weight"]
    seen = (best * (weight * (1 - direction.norm(dim=-1)))[:, None]).sum(dim=-1)
    asks = (direction != 0).any(dim=-1).any(dim=0).flatten().nonzero()[:, 0]
    if not len(asks):
        return seen
    first = torch.arange(0, items * units, units, device=asks.device)[:, None]
    subject, object_ = ((first + texts[name]).flatten(1)[:, None, asks] for name in ("subject", "object"))
    found = place.flatten(2)
    count = moments.shape[2]
    pair = found.gather(2, subject.expand(-1, images, -1)) * count + found.gather(2, object_.expand(-1, images, -1))
    table = relative_geometry(*torch.broadcast_tensors(moments[:, :, :, None], moments[:, :, None]))
    table = functional.normalize(table, dim=-1).flatten(2, 3)
    asked = (direction * weight[..., None]).flatten(1, 2)[:, None, asks]
    match = (table.gather(2, pair[..., None].expand(-1, -1, -1, GEOMETRY)) * asked).sum(dim=-1)
    return seen.index_add(2, asks // units, match)


def _pick(
    places: Float[Tensor, "group image text phrase 5"], index: Int[Tensor, "group text phrase"]
) -> Float[Tensor, "group image text phrase 5"]:
    """The moments of the units named by `index`."""
    return places.gather(3, index[:, None, :, :, None].expand_as(places))
