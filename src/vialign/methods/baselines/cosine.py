"""What every method shares whose score is the cosine of one embedding an image and one embedding a text."""

from jaxtyping import Float
from torch import Tensor

from vialign.methods.objective import Objective, Side


class CosineMethod(Objective):
    """A method whose sides hold `pooled`, unit length; the score is their product."""

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Cosines of all pairs."""
        return images["pooled"] @ texts["pooled"].T

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Cosines of aligned pairs."""
        return (images["pooled"] * texts["pooled"]).sum(dim=-1)
