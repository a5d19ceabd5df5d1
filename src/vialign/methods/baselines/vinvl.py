"""VinVL (Zhang et al. 2021, arXiv:2101.00529) with Oscar's inputs (Li et al. 2020, arXiv:2004.06165), frozen towers.

From the papers: an image is a set of regions, each the detector's feature with six numbers of its box, and the text of
its object tag; words are matched with regions and tags. Not from the papers: there a transformer of BERT's size is
pretrained on millions of pairs of word, tag and region sequences. Under this recipe a region is one vector of the joint
space, its tag's text embedding plus a linear map of feature and box. Words take the region that they match best,
regions the word, and both means are mixed with the pooled cosine. The mixtures, and how much each word counts, are
learned.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.features.regions import feature_width
from vialign.methods.baselines.explicit import box_numbers, regions_of, standardised, words_of
from vialign.methods.objective import Objective, Side, SplitData
from vialign.random import derive_seed

_BLOCK = 1 << 24
"""Matches of words with regions that one block of a gallery may hold."""
_START = 0.1
"""Length of what feature and box add to a tag's unit vector, about, before training."""


class Vinvl(Objective):
    """Linear maps of features, boxes, tags and words to the joint space.

    Trainable parameters in D dimensions, with region features of F numbers and token embeddings of W: D (F + 7) for
    feature and box, D² for the tag, D (D + W + 1) for the word, D + W for how much it counts, and 2 shares. Memory of a
    gallery's side: 4 D bytes a region or word.
    """

    name = "vinvl"
    needs = frozenset({"regions", "states"})

    def __init__(
        self, dimension: int, lexical: int, width: int, logit_scale: float, negative_weight: float, seed: int
    ) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        stream = torch.Generator().manual_seed(derive_seed(seed, "vinvl"))
        start = torch.randn(dimension, width + 6, generator=stream)
        self.region = nn.Parameter(start * _START / (dimension * (width + 6)) ** 0.5)
        self.region_offset = nn.Parameter(torch.zeros(dimension))
        self.tag = nn.Parameter(torch.eye(dimension))
        self.word = nn.Parameter(torch.eye(dimension, dimension + lexical))
        self.word_offset = nn.Parameter(torch.zeros(dimension))
        self.count = nn.Parameter(torch.zeros(dimension + lexical))
        self.regions_share, self.local_share = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """`pooled`, as stored; `regions` (image, region, dim), unit length, and which of them are `marked`."""
        found, pooled = regions_of(data, index, self.name), data.image_pooled[index]
        seen = torch.cat([standardised(found.features.to(pooled.dtype)), box_numbers(found.boxes)], dim=-1)
        regions = F.linear(found.tags.to(pooled.dtype), self.tag) + F.linear(seen, self.region, self.region_offset)
        return {"pooled": pooled, "regions": F.normalize(regions, dim=-1), "marked": found.present}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """`pooled`, as stored; `words` (text, word, dim), unit length; which are `said`, and how much they `count`."""
        pooled = data.text_pooled[index]
        states, said = words_of(data, index, self.name)
        inner, lexical = states.split([pooled.shape[1], states.shape[2] - pooled.shape[1]], dim=-1)
        parts = torch.cat([F.normalize(inner, dim=-1), standardised(lexical)], dim=-1)
        count = (standardised(states) @ self.count).masked_fill(~said, -1e9).softmax(dim=-1) * said
        words = F.normalize(F.linear(parts, self.word, self.word_offset), dim=-1)
        return {"pooled": pooled, "words": words, "said": said, "count": count}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, in blocks of images."""
        words = texts["words"]
        numbers = images["regions"].shape[1] * texts["said"].numel()
        parts, every = [], torch.arange(len(images["pooled"]), device=images["pooled"].device)
        for rows in every.split(max(1, _BLOCK // max(1, numbers))):
            regions, marked = images["regions"][rows], images["marked"][rows]
            matches = (regions.flatten(0, 1) @ words.flatten(0, 1).T).view(*regions.shape[:2], *words.shape[:2])
            parts.append(self._local(matches.transpose(1, 2), marked[:, None], texts["said"], texts["count"]))
        return self._mixed(torch.cat(parts), images["pooled"] @ texts["pooled"].T, images["marked"].any(dim=1)[:, None])

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        matches = images["regions"] @ texts["words"].transpose(1, 2)
        local = self._local(matches, images["marked"], texts["said"], texts["count"])
        return self._mixed(local, (images["pooled"] * texts["pooled"]).sum(dim=-1), images["marked"].any(dim=1))

    def _local(self, matches: Tensor, marked: Tensor, said: Tensor, count: Tensor) -> Tensor:
        return torch.lerp(*mean_best(matches, marked, said, count), self.regions_share.sigmoid())

    def _mixed(self, local: Tensor, pooled: Tensor, any_marked: Tensor) -> Tensor:
        """An image without a region has its pooled cosine alone."""
        kind = torch.promote_types(pooled.dtype, local.dtype)
        pooled, local = pooled.to(kind), local.to(kind)
        return torch.where(any_marked, torch.lerp(pooled, local, self.local_share.sigmoid()), pooled)


def mean_best(
    matches: Float[Tensor, "*pair region word"],
    marked: Bool[Tensor, "*image region"],
    said: Bool[Tensor, "*text word"],
    count: Float[Tensor, "*text word"],
) -> tuple[Float[Tensor, "*pair"], Float[Tensor, "*pair"]]:
    """Mean over words of a word's best match among the regions, weighted by `count`; and over regions of theirs.

    Regions that are not `marked` and words that are not `said` take no part; `count` is zero for those.
    """
    best_region = matches.masked_fill(~marked[..., None], -1.0).amax(dim=-2)
    best_word = matches.masked_fill(~said[..., None, :], -1.0).amax(dim=-1) * marked
    return (best_region * count).sum(dim=-1), best_word.sum(dim=-1) / marked.sum(dim=-1).clamp(min=1)


def build(config: Config, backbone: BackboneFacts, seed: int) -> Vinvl:
    """The method at its start, with the config's recipe."""
    return Vinvl(
        backbone.dimension,
        backbone.state_width - backbone.dimension,
        feature_width(config.data, backbone.dimension),
        backbone.logit_scale,
        config.training.negatives,
        seed,
    )
