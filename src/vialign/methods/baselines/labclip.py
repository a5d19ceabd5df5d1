"""LABCLIP (Koishigarina et al. 2026, arXiv:2502.03566): one linear map of the text embedding, before the cosine.

The towers are left as they are; a map of D x D numbers is trained on stored embeddings with hard negatives, from the
identity. What differs from the paper: its negatives are other captions of the same words, as here, but drawn by its own
rules; here they are the rule-made ones of the run (`language.negatives`), in the loss that all methods share, where the
paper puts them into the denominator of the contrastive loss.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.objective import Side, SplitData


class LinearAlignment(CosineMethod):
    """`cos(v, A t)`. Trainable parameters in D dimensions: D², 262,144 with 512."""

    name = "labclip"

    def __init__(self, dimension: int, logit_scale: float, negative_weight: float) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        self.map = nn.Parameter(torch.eye(dimension))

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Stored embeddings."""
        return {"pooled": data.image_pooled[index]}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Stored embeddings, mapped."""
        return {"pooled": F.normalize(data.text_pooled[index] @ self.map.T, dim=-1)}


def build(config: Config, backbone: BackboneFacts, seed: int) -> LinearAlignment:
    """The method at its start, which is the frozen backbone; nothing of it is drawn."""
    return LinearAlignment(backbone.dimension, backbone.logit_scale, config.training.negatives)
