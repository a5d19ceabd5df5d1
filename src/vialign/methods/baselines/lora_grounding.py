"""LoRA with word grounding: both that a method of the curriculum may have besides its modules, and LoRA in their place.

The regression is fitted once, before the first step, on the frozen towers, as for `grounding`; LoRA is trained with its
answer already in the captions. Words are those of the frozen text tower, which runs beside the tuned one.
"""

from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.lora import Lora
from vialign.methods.ground import WordGrounding, required_words, word_width
from vialign.methods.objective import Side, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class GroundedLora(Lora):
    """LoRA whose captions also say what their words look like. Trainable parameters: those of `lora`.

    What `WordGrounding` stores counts as beyond the backbone.
    """

    name = "lora-grounding"

    def __init__(
        self, backbone: "Backbone", rank: int, share: float, ridge: float, negative_weight: float, seed: int
    ) -> None:
        super().__init__(backbone, rank, negative_weight, seed)
        self.needs = self.needs | {"words"}
        self.grounding = WordGrounding(backbone.dimension, word_width(BackboneFacts.of(backbone)), share, ridge)

    def begin(self, data: SplitData) -> None:
        """Fit the regression on the captions of the training split."""
        words = required_words(data, self.name)
        self.grounding.fit(words, data.image_pooled, data.captions, data.image_of_text[data.captions])

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Embeddings from token ids, with their grounded words."""
        words = required_words(data, self.name)[index]
        return {"pooled": self.grounding(super().texts(data, index)["pooled"], words)}

    def statistics(self) -> dict[str, Tensor]:
        """The regression."""
        return dict(self.grounding.named_buffers(prefix="grounding"))


def build(config: Config, backbone: "Backbone", seed: int) -> GroundedLora:
    """The method before its fit, with LoRA's rank and the grounding of `grounding`. Raises UserError as `lora`."""
    training, share = config.training, config.baselines.grounding_share
    ridge = config.curriculum.grounding.ridge
    return GroundedLora(backbone, training.lora_rank, share, ridge, training.negatives, seed)
