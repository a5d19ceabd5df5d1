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

    def gathered(self, texts: dict[str, Tensor]) -> dict[str, Tensor]:
        """All that the scores of a group of texts take from the texts alone, with the texts along the last axis.

        So sums over units, rank and geometry run over whole rows of texts. A unit whose subject is its object lies
        where it lies: the sum of all these is `alone`. `related` is what the other units generate, at most so many a
        text as some text has, and `related_subject` and `related_object` where their ends stand among all units;
        `asked` is what relations ask of geometry, with `asked_subject`, `asked_object` and the place of their text.
        """
        subject, object_ = texts["subject"], texts["object"]
        _, items, units = subject.shape
        place = torch.arange(items, device=subject.device)
        factor, generated = (texts[name] * texts[name].shape[-1] ** -0.5 for name in ("factor", "generated"))
        apart = subject != object_
        most = int(apart.sum(dim=2).amax())
        first = apart.to(torch.uint8).argsort(dim=2, descending=True, stable=True)[..., :most]
        others = (generated * apart[..., None]).gather(2, first[..., None].expand(-1, -1, -1, generated.shape[-1]))
        alone = (generated * ~apart[..., None]).sum(dim=2) * self.geometry[-1]
        direction = texts["direction"].permute(0, 3, 2, 1)
        asks = (direction != 0).any(dim=1).any(dim=0).flatten().nonzero()[:, 0]
        weight = texts["weight"].transpose(1, 2)
        side = {
            "pooled": texts["pooled"],
            "owner": texts["owner"],
            "written": (texts["pooled"] @ self.write).transpose(1, 2),
            "phrases": texts["phrases"].transpose(1, 2),
            "query": texts["query"].permute(0, 3, 2, 1).flatten(2),
            "factor": factor.permute(0, 3, 2, 1),
            "alone": alone.transpose(1, 2),
            "related": others.permute(0, 3, 2, 1),
            "weight": weight * (1 - direction.norm(dim=1)),
            "asked": (direction * weight[:, None]).flatten(2)[..., asks],
        }
        side = {name: tensor.contiguous() for name, tensor in side.items()}
        for name, end in (("subject", subject), ("object", object_)):
            column = end * items + place[:, None]
            side[f"related_{name}"] = column.gather(2, first).transpose(1, 2).flatten(1)
            side[f"asked_{name}"] = column.transpose(1, 2).flatten(1)[:, asks]
        return side | {"asked_text": asks % items}

    def fusion(
        self,
        matches: Float[Tensor, "group image prototype phrase text"],
        prototypes: Float[Tensor, "group image prototype dim"],
        mass: Float[Tensor, "group image prototype"],
        moments: Float[Tensor, "group image prototype 5"],
        read: Float[Tensor, "group image prototype rank"],
        texts: dict[str, Tensor],
    ) -> Float[Tensor, "group image rank text"]:
        """z of every image with every text of its group.

        `matches` are the cosines of prototypes and phrases; `texts` are as `gathered` gives them.
        """
        group, images, count, units, items = matches.shape
        keys = (prototypes @ self.query_up.T).reshape(group, images * count, -1)
        logits = torch.baddbmm(matches.reshape(group, images * count, -1), keys, texts["query"])
        logits = torch.div(logits, self.log_temperature.exp(), out=_over(logits)).view_as(matches)
        attention = masked(logits, mass, ABSENT).softmax(dim=2).view(group * images, count, units * items)
        content = torch.bmm(read.flatten(0, 1).transpose(1, 2), attention).view(group, images, -1, units, items)
        z = torch.mul(content, texts["factor"][:, None], out=_over(content)).sum(dim=3) + texts["alone"][:, None]
        if not texts["related"].shape[2]:
            return z
        places = torch.bmm(moments.flatten(0, 1).transpose(1, 2), attention).view(group, images, 5, units * items)
        subject, object_ = (_columns(places, texts[name]) for name in ("related_subject", "related_object"))
        relative = relative_geometry(subject, object_, dim=2).flatten(0, 1)
        placed = torch.bmm(self.geometry.T.expand(len(relative), -1, -1), relative)
        placed = placed.view(group, images, *texts["related"].shape[1:])
        return z + torch.mul(placed, texts["related"][:, None], out=_over(placed)).sum(dim=3)

    def corrected(
        self,
        z: Float[Tensor, "group image rank text"],
        images: Float[Tensor, "group image dim"],
        texts: dict[str, Tensor],
        s_global: Float[Tensor, "group image text"],
        consistency: Float[Tensor, "group image text"],
        support: Float[Tensor, "group image text"],
    ) -> Float[Tensor, "group image text"]:
        """cos(g_v + γ(C) (A z + λ S g_t), g_t), from products with A and its Gram matrix; `support` is S."""
        gamma = self.strength(consistency)
        along_text = (z * texts["written"][:, None]).sum(dim=2)
        along_image = ((images @ self.write)[:, :, None] @ z)[:, :, 0]
        gram = (self.write.T @ self.write).expand(z.shape[0] * z.shape[1], -1, -1)
        square = (torch.bmm(gram, z.flatten(0, 1)).view_as(z) * z).sum(dim=2)
        cosine = s_global + gamma * along_text
        towards = gamma * SUPPORT_STEP * self.support * support
        square = 1 + 2 * gamma * along_image + gamma.square() * square + towards * (2 * cosine + towards)
        return (cosine + towards) / square.clamp_min(1e-8).sqrt()

    def strength(self, consistency: Float[Tensor, "*pair"]) -> Float[Tensor, "*pair"]:
        """γ(C) in (0, 1): falls with C, so a pair whose two alignments agree is corrected less."""
        return torch.sigmoid(self.gate[0] + self.gate[1].exp() * (1 - consistency))


def local_matches(
    prototypes: Float[Tensor, "group image prototype dim"], phrases: Float[Tensor, "group phrase text dim"]
) -> Float[Tensor, "group image prototype phrase text"]:
    """Cosines of every prototype with every phrase of its group, by one matrix product a group."""
    group, images, count, _ = prototypes.shape
    product = torch.bmm(prototypes.flatten(1, 2), phrases.flatten(1, 2).transpose(1, 2))
    return product.view(group, images, count, *phrases.shape[1:3])


def local_scores(
    matches: Float[Tensor, "group image prototype phrase text"],
    mass: Float[Tensor, "group image prototype"],
    moments: Float[Tensor, "group image prototype 5"],
    texts: dict[str, Tensor],
) -> Float[Tensor, "group image text"]:
    """S_local from the cosines, as `vialign.signal.score.local_similarity`; `texts` are as `gathered` gives them.

    Few units of a caption ask for geometry, so only theirs is looked up, in a table of all pairs of prototypes.
    """
    matches = masked(matches, mass, -1.0)
    seen = (matches.amax(dim=2) * texts["weight"][:, None]).sum(dim=2)
    if not len(texts["asked_text"]):
        return seen
    subject, object_ = (
        _columns(matches.flatten(3), texts[name]).max(dim=2).indices for name in ("asked_subject", "asked_object")
    )
    table = relative_geometry(*torch.broadcast_tensors(moments[:, :, :, None], moments[:, :, None]))
    table = functional.normalize(table, dim=-1).flatten(2, 3).transpose(2, 3)
    pair = (subject * moments.shape[2] + object_)[:, :, None]
    match = (table.gather(3, pair.expand(-1, -1, GEOMETRY, -1)) * texts["asked"][:, None]).sum(dim=2)
    return seen.index_add(2, texts["asked_text"], match)


def masked(
    values: Float[Tensor, "group image prototype phrase text"],
    mass: Float[Tensor, "group image prototype"],
    fill: float,
) -> Float[Tensor, "group image prototype phrase text"]:
    """`fill` instead of the values of prototypes that are absent; nothing is copied where all are there."""
    absent = mass == 0
    return values.masked_fill(absent[..., None, None], fill) if bool(absent.any()) else values


def _columns(
    values: Float[Tensor, "group image channel column"], index: Int[Tensor, "group chosen"]
) -> Float[Tensor, "group image channel chosen"]:
    """The same columns of every image of a group."""
    return values.gather(3, index[:, None, None].expand(-1, *values.shape[1:3], -1))


def _over(values: Tensor) -> Tensor | None:
    """Where the result may be written that takes the place of these values: over them, unless a gradient needs them."""
    return None if torch.is_grad_enabled() else values
