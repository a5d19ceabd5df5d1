"""The backbone as loaded: nothing to train, the floor that every method is held against."""

from jaxtyping import Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.objective import Side, SplitData


class Frozen(CosineMethod):
    """Cosine of the pooled embeddings. Trainable parameters: 0."""

    name = "frozen"

    def __init__(self, logit_scale: float, negative_weight: float) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Stored embeddings."""
        return {"pooled": data.image_pooled[index]}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Stored embeddings."""
        return {"pooled": data.text_pooled[index]}


def build(config: Config, backbone: BackboneFacts, seed: int) -> Frozen:
    """The method, with the config's recipe; nothing of it is drawn."""
    return Frozen(backbone.logit_scale, config.training.negatives)
