"""CLIP-Adapter (Gao et al. 2021, arXiv:2110.04544): a residual bottleneck behind each tower, on stored embeddings.

The paper's two forms, on the image and on the text embedding, together; its few-shot classifiers become captions. The
adapter is the paper's equation, without the second ReLU of the authors' code: behind a zero it would pass no gradient.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.objective import Side, SplitData
from vialign.random import derive_seed


class EmbeddingAdapter(nn.Module):
    """`norm(ratio * up relu(down x) + (1 - ratio) * x)`; `up` starts at zero, so that it starts as the identity."""

    def __init__(self, dimension: int, bottleneck: int, ratio: float, seed: int, name: str) -> None:
        super().__init__()
        self.ratio = ratio
        start = torch.empty(bottleneck, dimension)
        stream = torch.Generator().manual_seed(derive_seed(seed, "clip-adapter", name))
        nn.init.kaiming_uniform_(start, a=5**0.5, generator=stream)  # as the authors' linear layers start
        self.down = nn.Parameter(start)
        self.up = nn.Parameter(torch.zeros(dimension, bottleneck))

    def forward(self, embeddings: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
        """Adapted embeddings, unit length."""
        adapted = F.linear(F.relu(F.linear(embeddings, self.down)), self.up)
        return F.normalize(self.ratio * adapted + (1 - self.ratio) * embeddings, dim=-1)


class ClipAdapter(CosineMethod):
    """One adapter on the image embedding and one on the text embedding; the towers never run.

    Trainable parameters in D dimensions, with `reduction` q: two adapters of 2 D r, with r = max(1, D // q).
    """

    name = "clip-adapter"

    def __init__(
        self, dimension: int, logit_scale: float, reduction: int, ratio: float, negative_weight: float, seed: int
    ) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        bottleneck = max(1, dimension // reduction)
        self.image = EmbeddingAdapter(dimension, bottleneck, ratio, seed, "image")
        self.text = EmbeddingAdapter(dimension, bottleneck, ratio, seed, "text")

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Stored embeddings, adapted."""
        return {"pooled": self.image(data.image_pooled[index])}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Stored embeddings, adapted."""
        return {"pooled": self.text(data.text_pooled[index])}


def build(config: Config, backbone: BackboneFacts, seed: int) -> ClipAdapter:
    """The method at its start, with the config's sizes and recipe."""
    return ClipAdapter(
        backbone.dimension,
        backbone.logit_scale,
        config.baselines.clip_adapter_reduction,
        config.baselines.clip_adapter_ratio,
        config.training.negatives,
        seed,
    )
