"""What methods share that are LoRA to whoever ranks with them, and look at single patches while they learn."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from vialign.methods.baselines.lora import Lora
from vialign.methods.objective import Batch, Side, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class LocalLora(Lora):
    """LoRA whose image sides hold patches in a step of training, and the embedding alone in a gallery.

    Patches are tokens of the last layer. On a convolutional trunk they come through the trunk, which is not trained, so
    it is slow there. Trainable parameters: those of `lora`.
    """

    def __init__(self, backbone: "Backbone", rank: int, negative_weight: float, seed: int) -> None:
        super().__init__(backbone, rank, negative_weight, seed)
        self.needs = frozenset({"pixels", "token_ids"})
        self._in_step = False

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Embeddings from pixels; in a step of training also `patches`, unit length."""
        if not self._in_step or data.pixels is None:
            return super().images(data, index)
        pooled, patches = self.backbone.image_tokens(self.backbone.normalise(data.pixels[index]), "final")
        return {"pooled": pooled, "patches": F.normalize(patches, dim=-1)}

    def sides(self, data: SplitData, batch: Batch) -> tuple[Side, Side, Side | None]:
        """As for every method, with patches, which a gallery has not."""
        self._in_step = True
        try:
            return super().sides(data, batch)
        finally:
            self._in_step = False
