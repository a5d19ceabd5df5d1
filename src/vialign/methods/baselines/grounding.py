"""Word grounding alone: the frozen backbone whose captions also say what their words look like, without training.

It is what every method of the curriculum may have besides its modules (`curriculum.grounding`), so it stands beside
them as a rival: what it gains needs no signal.
"""

from jaxtyping import Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.ground import WordGrounding, required_words, word_width
from vialign.methods.objective import Side, SplitData


class Grounded(CosineMethod):
    """Stored image embeddings, and caption embeddings with their grounded words; the frozen score until it is fitted.

    Trainable parameters: 0. What `WordGrounding` stores counts as beyond the backbone.
    """

    name = "grounding"
    needs = frozenset({"words"})

    def __init__(
        self, dimension: int, width: int, logit_scale: float, share: float, ridge: float, negative_weight: float
    ) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        self.grounding = WordGrounding(dimension, width, share, ridge)

    def begin(self, data: SplitData) -> None:
        """Fit the regression on the captions of the training split."""
        words = required_words(data, self.name)
        self.grounding.fit(words, data.image_pooled, data.captions, data.image_of_text[data.captions])

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Stored embeddings."""
        return {"pooled": data.image_pooled[index]}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Stored embeddings with their grounded words."""
        words = required_words(data, self.name)
        return {"pooled": self.grounding(data.text_pooled[index], words[index])}

    def statistics(self) -> dict[str, Tensor]:
        """The regression."""
        return dict(self.grounding.named_buffers(prefix="grounding"))


def build(config: Config, backbone: BackboneFacts, seed: int) -> Grounded:
    """The method before its fit, which is the frozen backbone; nothing of it is drawn."""
    return Grounded(
        backbone.dimension,
        word_width(backbone),
        backbone.logit_scale,
        config.baselines.grounding_share,
        config.curriculum.grounding.ridge,
        config.training.negatives,
    )
