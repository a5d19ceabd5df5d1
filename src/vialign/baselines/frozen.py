"""The backbone as loaded: nothing to train, the floor that every method is held against."""

from jaxtyping import Float, Int
from torch import Tensor

from vialign.objective import Objective, Side, SplitData


class Frozen(Objective):
    """Cosine of the pooled embeddings."""

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

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Cosines of all pairs."""
        return images["pooled"] @ texts["pooled"].T

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Cosines of aligned pairs."""
        return (images["pooled"] * texts["pooled"]).sum(dim=-1)
