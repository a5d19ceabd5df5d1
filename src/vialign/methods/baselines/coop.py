"""CoOp (Zhou et al. 2022, arXiv:2109.01134), in its retrieval form.

The paper learns context vectors in front of a class name. Here they stand in front of the caption, between the start
token and its first word, and all captions share them (the paper's unified context); images keep their stored
embeddings, since the method leaves the image tower alone. The vectors take positions of the context: a caption that no
longer fits loses its last tokens and keeps its end token, at which the tower pools.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.random import derive_seed

if TYPE_CHECKING:
    from vialign.backbone import Backbone

SPREAD = 0.02
"""Standard deviation of the vectors at the start (paper, section 4.1)."""


class ContextEmbedding(nn.Module):
    """A token embedding whose positions behind the first hold learned vectors, whatever ids stand there."""

    def __init__(self, embedding: nn.Embedding, context: Float[Tensor, "context width"]) -> None:
        super().__init__()
        self.embedding = embedding
        self.context = nn.Parameter(context)

    def forward(self, ids: Int[Tensor, "text token"]) -> Float[Tensor, "text token width"]:
        """Embeddings of start token, context and caption."""
        words, count = self.embedding(ids), len(self.context)
        return torch.cat([words[:, :1], self.context.expand(len(ids), -1, -1), words[:, 1 + count :]], dim=1)


class Coop(TunedBackbone):
    """A copy of the text tower with context vectors. Trainable parameters: their number times the tower's width."""

    name = "coop"

    def __init__(self, backbone: "Backbone", count: int, negative_weight: float, seed: int) -> None:
        super().__init__(backbone, negative_weight)
        if backbone.context_length < count + 3:
            raise UserError(
                f"coop: baselines.context_vectors is {count}, but {self.architecture} reads {backbone.context_length} "
                f"tokens, start and end included, so no caption fits; use at most {backbone.context_length - 3}"
            )
        self.count = count
        tower = self.text_tower
        if tower.pool_type not in ("argmax", "eos"):
            raise UserError(
                f"coop: the text tower of {self.architecture} pools at its {tower.pool_type} position, so it has no "
                "start token that the context could follow; remove coop from training.methods"
            )
        self.end_id = tower.end_id if tower.pool_type == "eos" else None
        owner = tower.owner
        stream = torch.Generator().manual_seed(derive_seed(seed, "coop"))
        start = SPREAD * torch.randn(count, owner.token_embedding.embedding_dim, generator=stream)
        owner.token_embedding = ContextEmbedding(owner.token_embedding, start)
        self.settle()

    def encode_text(self, ids: Int[Tensor, "text token"]) -> Float[Tensor, "text dim"]:
        """Embeddings of captions behind the context, unit length."""
        return self.backbone.encode_text(make_room(ids, self.count, self.backbone.context_length, self.end_id))


def make_room(
    ids: Int[Tensor, "text token"], count: int, limit: int, end_id: int | None = None
) -> Int[Tensor, "text longer"]:
    """Token ids with room for `count` vectors behind the start token, at most `limit` long.

    The start token's id fills the room: it is neither padding nor an end. A text whose end token no longer fits has it
    at the last place instead, over the last token that would fit. Without `end_id` the end token is the highest id of a
    row, as open_clip's pooling takes it to be.
    """
    end = ids.argmax(dim=1) if end_id is None else (ids == end_id).int().argmax(dim=1)
    longer = torch.cat([ids[:, :1].expand(-1, 1 + count), ids[:, 1:]], dim=1)
    kept = longer[:, :limit].clone()
    over = (end + count >= limit).nonzero().squeeze(1)
    kept[over, -1] = ids[over, end[over]]
    return kept


def build(config: Config, backbone: "Backbone", seed: int) -> Coop:
    """The method at its start, with the config's size and recipe.

    Raises UserError when no caption fits behind the context, and for text towers of an unknown kind.
    """
    return Coop(backbone, config.baselines.context_vectors, config.training.negatives, seed)
