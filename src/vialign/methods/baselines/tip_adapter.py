"""Tip-Adapter (Zhang et al. 2022, arXiv:2207.09519), in a retrieval form: a cache of training pairs, without training.

The paper keeps the few images of each class as keys and their labels as values; an image's class scores gain the
labels of the keys that it is similar to. Retrieval has no classes: here a training image is a key and the mean of its
captions' embeddings is its value, so an image gains what is said of similar training images, which any text can be
compared with. What differs besides: the weights of the keys are divided by their sum, which keeps scores in [-1, 1],
and share and sharpness are set, not searched. The keys are evenly spread over the training split.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.baselines.cosine import CosineMethod
from vialign.methods.objective import Side, SplitData


class TipAdapter(CosineMethod):
    """`(1 - a) v + a Σ_j w_j y_j` on the image side, `w = softmax(b v · x)`; a text's score is the product with it.

    Trainable parameters: 0. What it keeps of M pairs, 2 M D numbers, counts as beyond the backbone.
    """

    name = "tip-adapter"

    def __init__(
        self, dimension: int, logit_scale: float, pairs: int, share: float, sharpness: float, negative_weight: float
    ) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        self.share, self.sharpness = share, sharpness
        self.keys: Tensor
        self.values: Tensor
        self.register_buffer("keys", torch.zeros(pairs, dimension))
        self.register_buffer("values", torch.zeros(pairs, dimension))

    def begin(self, data: SplitData) -> None:
        """Keep pairs of the training split: as many as there is room for, of images that have a caption."""
        owner = data.image_of_text[data.captions].to(self.keys.device)
        images, counts = torch.unique(owner, return_counts=True)
        even = torch.linspace(0, len(images) - 1, min(len(images), len(self.keys)), dtype=torch.float64, device="cpu")
        places = even.round().long().to(images.device)
        kept = images[places]
        place = owner.new_full((len(data.image_ids),), -1)
        place[kept] = torch.arange(len(kept), device=kept.device)
        mine = (place[owner] >= 0).nonzero()[:, 0]
        said = data.text_pooled[data.captions[mine.to(data.captions.device)]]
        total = said.new_zeros(len(kept), said.shape[1]).index_add(0, place[owner[mine]], said)
        self.keys.zero_()[: len(kept)] = data.image_pooled[kept]
        self.values.zero_()[: len(kept)] = total / counts[places, None]

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """Stored embeddings, with what is said of similar training images; alone while nothing is kept."""
        pooled = data.image_pooled[index]
        kept = self.keys.any(dim=1)
        mixed = cached(pooled, self.keys, self.values, kept, self.share, self.sharpness)
        return {"pooled": torch.where(kept.any(), mixed, pooled)}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Stored embeddings."""
        return {"pooled": data.text_pooled[index]}

    def statistics(self) -> dict[str, Tensor]:
        """The pairs."""
        return {"keys": self.keys, "values": self.values}


def cached(
    embeddings: Float[Tensor, "image dim"],
    keys: Float[Tensor, "pair dim"],
    values: Float[Tensor, "pair dim"],
    kept: Bool[Tensor, "pair"],
    share: float,
    sharpness: float,
) -> Float[Tensor, "image dim"]:
    """Embeddings with a share of the values of the `kept` keys that they are near to; not longer than 1."""
    weights = torch.softmax((sharpness * embeddings @ keys.T).masked_fill(~kept, -torch.inf), dim=1)
    return (1 - share) * embeddings + share * weights @ values


def build(config: Config, backbone: BackboneFacts, seed: int) -> TipAdapter:
    """The method with an empty cache, which is the frozen backbone; nothing of it is drawn."""
    sizes = config.baselines
    return TipAdapter(
        backbone.dimension,
        backbone.logit_scale,
        sizes.cache_pairs,
        sizes.cache_share,
        sizes.cache_sharpness,
        config.training.negatives,
    )
