"""VinVL with pairs of regions: what `vinvl` is told, in a form that can say how two regions lie to each other.

A set of single regions knows no relation: whatever holds of two of them is lost once each is matched alone. So the
image also has a vector for every ordered pair of its regions, a linear map of the first, of the second and of where the
first lies as seen from the second. Words take their best pair, beside their best region. That boxes tell a relation by
their relative place is from relation networks (Hu et al. 2018, arXiv:1711.11575), whose attention weighs pairs by it.
"""

from itertools import permutations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.disentangle.geometry import GEOMETRY, relative_geometry
from vialign.features.facts import BackboneFacts
from vialign.features.regions import Regions, feature_width
from vialign.methods.baselines.explicit import box_moments
from vialign.methods.baselines.vinvl import START, Vinvl, best_of_words, matches_by_block
from vialign.methods.objective import Side
from vialign.random import derive_seed


class VinvlPairs(Vinvl):
    """VinVL, and linear maps of pairs of regions and of the words that they are matched with.

    Trainable parameters in D dimensions, with token embeddings of W: those of `vinvl`, 2 D² for the regions of a pair,
    9 D for its geometry, D (D + W + 1) for the word, D + W for how much it counts, and 1 share. Of R regions R (R - 1)
    pairs are made. Memory of a gallery's side: 4 D bytes a region, a pair, and twice a word.
    """

    name = "vinvl-pairs"

    def __init__(
        self,
        dimension: int,
        lexical: int,
        width: int,
        logit_scale: float,
        negative_weight: float,
        paired_regions: int,
        seed: int,
    ) -> None:
        super().__init__(dimension, lexical, width, logit_scale, negative_weight, seed)
        stream = torch.Generator().manual_seed(derive_seed(seed, "vinvl-pairs"))
        start = torch.randn(dimension, GEOMETRY, generator=stream)
        self.paired_regions = paired_regions
        self.first, self.second = (nn.Parameter(torch.eye(dimension) / 2) for _ in range(2))
        self.geometry = nn.Parameter(start * START / (dimension * GEOMETRY) ** 0.5)
        self.pair_offset = nn.Parameter(torch.zeros(dimension))
        self.pair_word = nn.Parameter(torch.eye(dimension, dimension + lexical))
        self.pair_word_offset = nn.Parameter(torch.zeros(dimension))
        self.pair_count = nn.Parameter(torch.zeros(dimension + lexical))
        self.pair_share = nn.Parameter(torch.zeros(()))

    def image_side(self, found: Regions, pooled: Float[Tensor, "image dim"]) -> Side:
        """That of `vinvl`, and `pairs` (image, pair, dim), unit length, and which of them are `paired`."""
        side = super().image_side(found, pooled)
        kept = min(self.paired_regions, found.present.shape[1])
        # Two places at least: where no image has two regions there is an empty pair, which takes no part.
        more = max(0, 2 - kept)
        regions, boxes = (F.pad(part[:, :kept], (0, 0, 0, more)) for part in (side["regions"], found.boxes))
        marked = F.pad(found.present[:, :kept], (0, more))
        one, other = torch.tensor(list(permutations(range(kept + more), 2)), device=pooled.device).T
        moments = box_moments(boxes.to(pooled.dtype))
        placed = F.linear(relative_geometry(moments[:, one], moments[:, other]), self.geometry, self.pair_offset)
        pairs = F.linear(regions, self.first)[:, one] + F.linear(regions, self.second)[:, other] + placed
        return {**side, "pairs": F.normalize(pairs, dim=-1), "paired": marked[:, one] & marked[:, other]}

    def text_side(
        self,
        states: Float[Tensor, "text word state"],
        said: Bool[Tensor, "text word"],
        pooled: Float[Tensor, "text dim"],
    ) -> Side:
        """That of `vinvl`, and `pair_words`, the words as pairs are matched with them, with their `pair_count`."""
        side = super().text_side(states, said, pooled)
        words, count = self.words(states, said, self.pair_word, self.pair_word_offset, self.pair_count)
        return {**side, "pair_words": words, "pair_count": count}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, in blocks of images."""
        parts = [
            best_of_words(matches, images["paired"][rows, None], texts["pair_count"])
            for rows, matches in matches_by_block(images["pairs"], texts["pair_words"])
        ]
        single = super().scores(images, texts)
        return self._with_pairs(single, torch.cat(parts), images["paired"].any(dim=1)[:, None])

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        matches = images["pairs"] @ texts["pair_words"].transpose(1, 2)
        best = best_of_words(matches, images["paired"], texts["pair_count"])
        return self._with_pairs(super().pair_scores(images, texts), best, images["paired"].any(dim=1))

    def _with_pairs(self, single: Tensor, best: Tensor, any_paired: Tensor) -> Tensor:
        """An image without two regions has the score of `vinvl`."""
        kind = torch.promote_types(single.dtype, best.dtype)
        single, best = single.to(kind), best.to(kind)
        return torch.where(any_paired, torch.lerp(single, best, self.pair_share.sigmoid()), single)


def build(config: Config, backbone: BackboneFacts, seed: int) -> VinvlPairs:
    """The method at its start, with the config's recipe."""
    return VinvlPairs(
        backbone.dimension,
        backbone.state_width - backbone.dimension,
        feature_width(config.data, backbone.dimension),
        backbone.logit_scale,
        config.training.negatives,
        config.baselines.paired_regions,
        seed,
    )
