"""LoRA that is told labelled boxes of training images: the patches of a box are pulled to the words of its label.

The boxes are those that the dictionary of `vialign` is fitted with, and they are told in training alone. What lies in
the boxes of an image that share a label is one region, as there: the mean of its patches, each weighted by the share
that the boxes cover. Regions and labels of a batch are matched by a contrastive loss, as regions and concepts are in
RegionCLIP (Zhong et al. 2022, arXiv:2112.09106), where a detector proposes the regions; both towers learn from it.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.contrastive import contrastive_loss
from vialign.data.base import object_phrase
from vialign.device import to_device
from vialign.disentangle.losses import alignment_loss
from vialign.methods.baselines.local_lora import LocalLora
from vialign.methods.objective import Batch, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class LoraBoxes(LocalLora):
    """LoRA with a loss on labelled boxes. Trainable parameters: those of `lora`; it scores as LoRA does."""

    name = "lora-boxes"

    def __init__(self, backbone: "Backbone", rank: int, negative_weight: float, box_weight: float, seed: int) -> None:
        super().__init__(backbone, rank, negative_weight, seed)
        self.box_weight = box_weight

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """The plain losses of all methods, and that on boxes as the regularisation."""
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        negative = self.negative_term(batch, images, scores, wrong)
        boxes = self.box_weight * self.box_loss(data, batch.images, images["patches"])
        return self.total(contrastive_loss(self.logit_scale * scores), negative, boxes)

    def box_loss(
        self, data: SplitData, index: Int[Tensor, "image"], patches: Float[Tensor, "image patch dim"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of every labelled region of these images over the labels of all of them.

        0 where fewer than two labels are to be told apart. Raises ValueError when the split was loaded without boxes.
        """
        if data.boxes is None:
            raise ValueError(f"{self.name} needs labelled boxes: load the training split with them")
        targets = data.boxes.index(index)
        labelled = targets.label >= 0
        if not bool(labelled.any()):
            return patches.sum() * 0
        regions = F.normalize((targets.coverage @ patches)[labelled], dim=-1)
        said, label = torch.unique(targets.label[labelled], return_inverse=True)
        phrases = [object_phrase(targets.labels[place], []) for place in said.tolist()]
        words = self.encode_by_length(to_device(self.backbone.tokenize(phrases).ids, patches.device))
        return alignment_loss(regions, label, words, patches.new_tensor(self.logit_scale))


def build(config: Config, backbone: "Backbone", seed: int) -> LoraBoxes:
    """The method at its start, with LoRA's rank and the config's weight of the boxes. Raises UserError as `lora`."""
    training = config.training
    return LoraBoxes(backbone, training.lora_rank, training.negatives, config.baselines.box_weight, seed)
