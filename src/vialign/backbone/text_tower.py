"""Text embeddings and token states of open_clip's text towers, on ids that are cut to the batch's longest text.

Most towers are causal and padding comes last, so no position before a text's end ever sees what was cut off; CoCa's
class token masks it. Either way the result is exact. Towers that look at their padding (SigLIP) run on the whole
context instead (`cuts` is false).
"""

from dataclasses import dataclass
from typing import Any

import torch
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
        """Whether padding can be cut off without changing a number: no kept position ever sees it."""
        if self._class_token is not None:
            return True
        return self.owner.attn_mask is not None and self.pool_type in ("argmax", "eos", "first")

    @property
    def kept_padding(self) -> int:
        """Positions after a text's end that its embedding does see.

        CoCa's class token stands last. Its published weights were trained with a padding mask that is one position
        off (open_clip's `correct_cls_mask`), so the token sees the first padding position.
        """
        return int(self._class_token is not None and not self.owner.correct_cls_mask)

    def read(
        self, ids: Int[Tensor, "batch token"], embeddings: Float[Tensor, "batch token width"] | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token dim"]]:
        """Pooled embeddings (not normalised, as `encode_text` gives them) and token states in the joint space.

        `embeddings` stand in for what `embed` gives for the ids.
        """
        owner, length = self.owner, ids.shape[1]
        states = self.embed(ids) if embeddings is None else embeddings
        positions = owner.positional_embedding[:length]
        if self._class_token is not None:
            last = self._class_token.expand(len(ids), 1, -1)
            states, positions = torch.cat([states, last], 1), torch.cat([positions, owner.positional_embedding[-1:]])
        states = self._project(owner.ln_final(owner.transformer(states + positions, attn_mask=self._mask(ids))))
        if self._class_token is not None:
            return states[:, -1], states[:, :-1]
        return text_global_pool(states, ids, self.pool_type, eos_token_id=self.end_id), states

    def embed(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The tower's embedding of each token, before any of its layers."""
        embedding: Tensor = self.owner.token_embedding(ids)
        return embedding

    @property
    def _class_token(self) -> Tensor | None:
        return getattr(self.owner, "cls_emb", None)

    def _mask(self, ids: Int[Tensor, "batch token"]) -> Tensor | None:
        """What each position must not see, additive: the future, and padding where a class token stands behind it."""
        length = ids.shape[1] + (self._class_token is not None)
        causal = None if self.owner.attn_mask is None else self.owner.attn_mask[:length, :length]
        if self._class_token is None:
            return causal
        padding = self.owner._build_additive_mask(ids, length, self.owner.positional_embedding.dtype)
        return padding if causal is None else causal + padding

    def _project(self, states: Tensor) -> Tensor:
        projection = self.owner.text_projection
        if projection is None:
            return states
        return projection(states) if isinstance(projection, nn.Linear) else states @ projection


def text_tower(model: nn.Module, architecture: str) -> TextTower:
    """The reader for a model's text side.

    Raises UserError for towers of another kind (Hugging Face text models, padding masks).
    """
    if isinstance(model, CLIP):
        return TextTower(model, model.text_pool_type, model.text_eos_id)
    text = getattr(model, "text", None)
    if isinstance(text, TextTransformer) and not text.use_pad_mask:
        return TextTower(text, text.pool_type, text.eos_id)
    raise UserError(
        f"backbone.architecture: the text tower of {architecture} ({type(text).__name__}) is not one that vialign can "
        "read token by token; use a model with open_clip's own text transformer"
    )
