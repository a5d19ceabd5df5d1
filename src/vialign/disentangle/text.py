"""Caption tokens to phrase units: a light transformer and the parser's structure, mixed by confidence."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vialign.config.disentangle import TextConfig
from vialign.disentangle.gate import gate_shares, unfitted_gate
from vialign.disentangle.geometry import ADDED, GEOMETRY
from vialign.disentangle.structure import TokenDistributions, decode, fill_slots, mix, smoothed
from vialign.disentangle.types import NONE, RELATION, Phrases, TokenStructure

Path = Literal["mixed", "asked", "main", "fallback"]
"""Which reading of a caption decides: both, both with the parser asked of every caption, the transformer alone, or the
parser alone."""

REACH = 12
"""Token distance beyond which all distances are alike."""


@dataclass(frozen=True)
class Reading:
    """What the main path says of a batch of captions."""

    states: Float[Tensor, "batch token dim"]
    """Mean removed, each token scaled to unit variance."""
    distributions: TokenDistributions
    logits: TokenDistributions
    """The same before softmax and sigmoid (log-odds), for the losses."""
    salience: Float[Tensor, "batch token"]
    """Log weight of a token inside its unit."""
    words: Float[Tensor, "batch token width"]
    """What tells relation words apart: the tower's token embeddings where the states carry them, else the states."""


class TextDisentangler(nn.Module):
    """Tags tokens with units and arguments, and pools each unit's tokens into a unit vector.

    The token states of a CLIP text tower were never trained to be compared with images: a learned scale and a low-rank
    residual map bring the pooled states to the visual prototypes.
    """

    mean: Tensor
    spatial: Tensor
    """Weights of a relation's mean word, and a constant: above zero it is spatial (`vialign.disentangle.spatial`)."""

    def __init__(
        self,
        dimension: int,
        units: int,
        width: int,
        adapter_rank: int,
        confidence: float,
        trust: float,
        smoothing: float,
        lexical: int = 0,
    ) -> None:
        super().__init__()
        self.dimension, self.units, self.width, self.lexical = dimension, units, width, lexical
        self.adapter_rank, self.smoothing = adapter_rank, smoothing
        self.confidence, self.trust = confidence, trust
        self.gate = nn.Parameter(unfitted_gate(confidence), requires_grad=False)
        self.reader = TokenTransformer(dimension + lexical, width)
        self.scale = nn.Parameter(torch.ones(dimension))
        self.down = nn.Linear(dimension, adapter_rank, bias=False)
        self.up = nn.Linear(adapter_rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)
        self.kind_weight = nn.Parameter(torch.zeros(4))
        self.direct = nn.Linear(lexical or dimension, GEOMETRY, bias=False)
        self.register_buffer("mean", torch.zeros(dimension))
        # Until it is told, every relation is spatial.
        self.register_buffer("spatial", F.pad(torch.zeros(lexical or dimension), (0, 1), value=1.0))

    @classmethod
    def from_config(cls, config: TextConfig, dimension: int, lexical: int = 0) -> "TextDisentangler":
        """An unfitted disentangler of the size that the config states.

        `lexical` is how many numbers a token state has beyond its `dimension` of the joint space.
        """
        return cls(
            dimension,
            config.units,
            config.width,
            config.adapter_rank,
            config.confidence,
            config.trust,
            config.label_smoothing,
            lexical,
        )

    def numbers(self) -> dict[str, object]:
        """The arguments that build this module again."""
        return {
            "dimension": self.dimension,
            "units": self.units,
            "width": self.width,
            "adapter_rank": self.adapter_rank,
            "confidence": self.confidence,
            "trust": self.trust,
            "smoothing": self.smoothing,
            "lexical": self.lexical,
        }

    def forward(
        self,
        states: Float[Tensor, "batch token dim"],
        mask: Bool[Tensor, "batch token"],
        structure: TokenStructure | None = None,
        path: Path = "mixed",
    ) -> Phrases:
        """Phrase units of a batch of captions; without `structure` (the parser's reading) the main path is alone.

        `states` are joint-space token states, not normalised; every caption must have a real token.
        """
        reading = self.read(states, mask)
        return self.phrases(reading, mask, self.decide(reading.distributions, mask, structure, path))

    def read(self, states: Float[Tensor, "batch token dim"], mask: Bool[Tensor, "batch token"]) -> Reading:
        """The main path's distributions over units and arguments."""
        lexical = F.layer_norm(states[..., self.dimension :].float(), (self.lexical,)) if self.lexical else None
        states = F.layer_norm(states[..., : self.dimension].float() - self.mean, (self.dimension,))
        logits, salience = self.reader(states if lexical is None else torch.cat([states, lexical], dim=-1), mask)
        distributions = TokenDistributions(
            logits.kind.softmax(dim=-1),
            logits.begin.sigmoid(),
            logits.subject.softmax(dim=-1),
            logits.object.softmax(dim=-1),
        )
        return Reading(states, distributions, logits, salience, states if lexical is None else lexical)

    def decide(
        self,
        main: TokenDistributions,
        mask: Bool[Tensor, "batch token"],
        structure: TokenStructure | None = None,
        path: Path = "mixed",
    ) -> TokenStructure:
        """Mix both paths by the main path's confidence (`vialign.disentangle.gate`), and decode.

        In a caption that the main path trusts itself with it is alone, and so it is where the parser found no unit.
        Raises ValueError when a path needs a structure that is not given.
        """
        if structure is None:
            if path == "fallback":
                raise ValueError("the fallback path needs the parser's structure")
            return decode(main, mask)
        if path == "main":
            return decode(main, mask)
        fallback = smoothed(structure, self.smoothing)
        if path == "fallback":
            return decode(fallback, mask)
        share = gate_shares(self.gate, main, structure, mask)
        alone = (structure.kind == NONE).all(dim=1)
        if path == "mixed":
            alone = alone | self.trusted(main, mask)
        return decode(mix(main, fallback, torch.where(alone[:, None], 1.0, share)), mask)

    def trusted(self, main: TokenDistributions, mask: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch"]:
        """Captions on which the main path is confident enough, at every token, to do without the parser.

        The parser costs more time than both towers of a small backbone, so inside the domain it is not asked. The
        least sure token decides: a typo lowers the confidence around it, hardly that of a whole caption.
        """
        return main.kind.amax(dim=-1).masked_fill(~mask, 1.0).amin(dim=1) >= self.trust

    def phrases(self, reading: Reading, mask: Bool[Tensor, "batch token"], structure: TokenStructure) -> Phrases:
        """Pool the tokens of every unit; differentiable in token weights and features, not in the structure."""
        slots = fill_slots(structure, mask, self.units)
        present = (slots.kind != NONE).to(reading.states.dtype)
        belief = reading.distributions.kind.gather(2, structure.kind[..., None]).squeeze(-1)
        token_weight = belief.clamp_min(0.05) * reading.salience.clamp(-5, 5).exp()
        assign = slots.members * token_weight[:, None, :]
        assign = assign / assign.sum(dim=-1, keepdim=True).clamp_min(1e-12)
        pooled = assign @ reading.states
        features = F.normalize(pooled * self.scale + self.up(F.gelu(self.down(pooled))), dim=-1)
        weight = present * self.kind_weight.exp()[slots.kind]
        weight = weight / weight.sum(dim=-1, keepdim=True).clamp_min(1e-12)
        features = features * present[..., None]
        related = (slots.kind == RELATION) & (slots.subject >= 0) & (slots.object >= 0)
        words = assign @ reading.words
        share = torch.where(words @ self.spatial[:-1] + self.spatial[-1] > 0, 1.0, ADDED) * related
        direction = F.normalize(self.direct(words), dim=-1) * share[..., None]
        return Phrases(features, weight, slots.kind, slots.subject, slots.object, assign, direction)


class TokenTransformer(nn.Module):
    """One narrow self-attention layer over token states, with heads for kinds, beginnings and argument pointers."""

    heads = 2

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(dimension, width)
        self.neighbours = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.attention_norm = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)
        self.attention_distance = nn.Parameter(torch.zeros(self.heads, 2 * REACH + 1))
        self.inner_norm = nn.LayerNorm(width)
        inner = 4 * width // 3
        self.inner = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.final_norm = nn.LayerNorm(width)
        self.tags = nn.Linear(width, 6)  # four kinds, beginning, salience
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, 2 * width, bias=False)
        self.absent = nn.Parameter(torch.zeros(2, width))
        self.pointer_distance = nn.Parameter(torch.zeros(2, 2 * REACH + 1))

    def forward(
        self, states: Float[Tensor, "batch token dim"], mask: Bool[Tensor, "batch token"]
    ) -> tuple[TokenDistributions, Float[Tensor, "batch token"]]:
        """Logits of every distribution, and the salience of every token."""
        batch, length, _ = states.shape
        place = torch.arange(length, device=states.device)
        distance = (place[None, :] - place[:, None]).clamp(-REACH, REACH) + REACH
        closed = torch.where(mask, 0.0, -1e4)[:, None, None, :]
        hidden = self.enter(states) * mask[..., None]
        hidden = hidden + self._beside(hidden)
        attended = self.attend(self.attention_norm(hidden)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = attended.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + self.attention_distance[:, distance] + closed
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, length, self.width)
        hidden = hidden + self.leave(mixed)
        hidden = self.final_norm(hidden + self.inner(self.inner_norm(hidden)))
        tags = self.tags(hidden)
        query = self.query(hidden).reshape(batch, length, 2, self.width).transpose(1, 2)
        pointers = query @ self.key(hidden).transpose(1, 2)[:, None] / self.width**0.5
        pointers = pointers + self.pointer_distance[:, distance] + closed
        absent = (query * self.absent[:, None, :]).sum(dim=-1, keepdim=True)
        subject, object_ = torch.cat([pointers, absent], dim=-1).unbind(dim=1)
        return TokenDistributions(tags[..., :4], tags[..., 4], subject, object_), tags[..., 5]

    def _beside(self, hidden: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """What `neighbours` gives, as sums of shifted tokens: a third of the time of the library's convolution here."""
        padded, length = F.pad(hidden, (0, 0, 1, 1)), hidden.shape[1]
        left, own, right = self.neighbours.weight[:, 0].unbind(dim=1)
        summed: Tensor = padded[:, :length] * left + hidden * own + padded[:, 2:] * right
        return summed if self.neighbours.bias is None else summed + self.neighbours.bias
