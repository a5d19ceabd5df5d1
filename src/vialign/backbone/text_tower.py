"""Text embeddings and token states of open_clip's text towers, on ids that are cut to the batch's longest text.

The towers are causal and padding comes last, so no position before a text's end ever sees what was cut off: the
result is exact. Towers that look both ways run on the whole context instead (`cuts` is false).
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn

from vialign.errors import UserError


@dataclass(frozen=True)
class TextTower:
    """Where an open_clip model keeps the parts of its text tower."""

    owner: Any
    """Module that holds token and positional embedding, transformer, last norm, projection and attention mask: the
    model itself (`CLIP`) or its `text` (`CustomTextCLIP`)."""
    pool_type: str
    """Which position carries the embedding: `argmax` (the highest id, the end token), `eos`, `first` or `last`."""
    end_id: int | None
    """Id of the end token, for pooling `eos`."""

    @property
    def cuts(self) -> bool:
        """Whether padding can be cut off without changing a number."""
        return self.owner.attn_mask is not None and self.pool_type in ("argmax", "eos", "first")

    def read(
        self, ids: Int[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token dim"]]:
        """Pooled embeddings (not normalised, as `encode_text` gives them) and token states in the joint space."""
        owner, length = self.owner, ids.shape[1]
        states = owner.token_embedding(ids) + owner.positional_embedding[:length]
        mask = None if owner.attn_mask is None else owner.attn_mask[:length, :length]
        states = self._project(owner.ln_final(owner.transformer(states, attn_mask=mask)))
        return text_global_pool(states, ids, self.pool_type, eos_token_id=self.end_id), states

    def embed(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The tower's embedding of each token, before any of its layers."""
        embedding: Tensor = self.owner.token_embedding(ids)
        return embedding

    def _project(self, states: Tensor) -> Tensor:
        projection = self.owner.text_projection
        if projection is None:
            return states
        return projection(states) if isinstance(projection, nn.Linear) else states @ projection


def text_tower(model: nn.Module, architecture: str) -> TextTower:
    """The reader for a model's text side.

    Raises UserError for towers of another kind (Hugging Face text models, CoCa's class token, padding masks).
    """
    if isinstance(model, CLIP):
        return TextTower(model, model.text_pool_type, model.text_eos_id)
    text = getattr(model, "text", None)
    if isinstance(text, TextTransformer) and text.cls_emb is None and not text.use_pad_mask:
        return TextTower(text, text.pool_type, text.eos_id)
    raise UserError(
        f"backbone.architecture: the text tower of {architecture} ({type(text).__name__}) is not one that vialign can "
        "read token by token; use a model with open_clip's own text transformer"
    )
