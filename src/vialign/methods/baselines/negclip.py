"""NegCLIP (Yuksekgonul et al. 2023, arXiv:2210.01936): all weights of both towers, tuned with hard negatives.

Its loss is the contrastive one in which the negative captions of a batch join the rivals of every image. What differs
from the paper: one negative a caption, made by the rules of the run instead of the authors' swaps of words; no hard
images, which the paper takes from the nearest neighbours in COCO; and the temperature stays that of the backbone, as
for every method. Norm layers keep the statistics of evaluation.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vialign.config.experiment import Config
from vialign.methods.baselines.tuned import TunedBackbone, own_parameters
from vialign.methods.objective import Batch, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_SCALES = ("logit_scale", "logit_bias")


class NegClip(TunedBackbone):
    """A copy of the backbone with weights of its own.

    Trainable parameters: all of both towers. They count as beyond the frozen backbone, which a run keeps too.
    """

    name = "negclip"

    def __init__(self, backbone: "Backbone", negative_weight: float) -> None:
        super().__init__(backbone, negative_weight)
        for module in self.model.modules():
            names = [name for name, _ in module.named_parameters(recurse=False)]
            own_parameters(module, [name for name in names if name not in _SCALES])
        self.settle()

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch: the negatives are part of the contrastive one, so there is no weight for them."""
        images, texts, wrong = self.sides(data, batch)
        logits = self.logit_scale * self.scores(images, texts)
        rivals = logits[:, :0] if wrong is None else self.logit_scale * self.scores(images, wrong)
        return self.total(negclip_loss(logits, rivals), logits.new_zeros(()))


def negclip_loss(logits: Float[Tensor, "batch batch"], rivals: Float[Tensor, "batch negative"]) -> Float[Tensor, ""]:
    """Symmetric cross-entropy of a batch; every image also has all `rivals`, the batch's negative captions, against it.

    A caption's rivals are the images of the batch alone.
    """
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(torch.cat([logits, rivals], dim=1), own) + F.cross_entropy(logits.T, own)) / 2


def build(config: Config, backbone: "Backbone", seed: int) -> NegClip:
    """The method at its start, which is the frozen backbone; nothing of it is drawn."""
    return NegClip(backbone, config.training.negatives)
