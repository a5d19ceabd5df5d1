"""Crops matched to phrases, without any training (Miranda et al. 2025, arXiv:2506.09691).

The tower encodes crops of an image as images of their own, and pieces of a caption as captions of their own; the score
is the mean best match of the pieces among the crops, beside the cosine of image and caption. What differs from the
paper: crops are a fixed grid of overlapping squares of half the image's side, and the whole image; pieces are found by
the words that join phrases (prepositions, conjunctions, forms of `be`), not by a parser: each phrase between two such
words, and each pair of neighbours with what joins them, for relations. An image costs ten passes of the image tower.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.backbone.crops import crop_windows
from vialign.config.experiment import Config
from vialign.methods.baselines.tuned import TunedBackbone
from vialign.methods.objective import Side, SplitData

if TYPE_CHECKING:
    from vialign.backbone import Backbone

_WORDS = """
above across after against along among and around as at before behind below beneath beside between but by down for from
in inside into is are was were being near next of off on onto or out outside over past that through to toward towards
under up upon while which who with without
"""
JOINING = frozenset(_WORDS.split())
"""Words at which a caption is cut."""


class CropMatching(TunedBackbone):
    """Best matches of a caption's pieces among an image's crops. Trainable parameters: 0."""

    name = "crops"

    def __init__(self, backbone: "Backbone", grid: int, pieces: int, share: float, negative_weight: float) -> None:
        super().__init__(backbone, negative_weight)
        self.settle()
        self.needs = frozenset({"pixels", "token_ids"})
        self.grid, self.most, self.share = grid, pieces, share

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """`pooled`, and `views` (image, 1 + grid², dim): the whole image and its crops, unit length."""
        if data.pixels is None:
            raise ValueError("crops needs pixels: load the split with them")
        pixels = data.pixels[index]
        views = [self.backbone.encode_image(self.backbone.normalise(view)) for view in crops(pixels, self.grid)]
        return {"pooled": views[0], "views": torch.stack(views, dim=1)}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """`pooled`; `pieces` (text, piece, dim), unit length, and which are `present`, as many for every text."""
        side = super().texts(data, index)
        found = [pieces(text, self.most) for text in data.texts["text"].iloc[index.tolist()]]
        flat = [piece for own in found for piece in own]
        encoded = self.encode_by_length(self.backbone.tokenize(flat).ids.to(side["pooled"].device))
        counts = torch.tensor([len(own) for own in found], device=encoded.device)
        present = torch.arange(self.most, device=encoded.device) < counts[:, None]
        filled = encoded.new_zeros(len(found), self.most, encoded.shape[1])
        filled[present] = encoded
        return {**side, "pieces": filled, "present": present}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, a piece of every text at a time."""
        local = images["pooled"].new_zeros(len(images["pooled"]), len(texts["pooled"]))
        for place in range(self.most):
            rows = texts["present"][:, place].nonzero()[:, 0]
            matches = images["views"] @ texts["pieces"][rows, place].T
            local[:, rows] += matches.amax(dim=1)
        local = local / texts["present"].sum(dim=1)
        return torch.lerp(images["pooled"] @ texts["pooled"].T, local, self.share)

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        local = mean_best_match(texts["pieces"] @ images["views"].transpose(1, 2), texts["present"])
        return torch.lerp((images["pooled"] * texts["pooled"]).sum(dim=-1), local, self.share)


def mean_best_match(
    matches: Float[Tensor, "pair piece view"], present: Bool[Tensor, "pair piece"]
) -> Float[Tensor, "pair"]:
    """The mean over a text's pieces of each one's best view."""
    return (matches.amax(dim=-1) * present).sum(dim=-1) / present.sum(dim=-1)


def crops(pixels: Tensor, grid: int) -> list[Tensor]:
    """The whole images, then `grid` x `grid` squares of half the side, evenly spread, each at the images' size.

    `pixels` are (image, 3, height, width), uint8, and so are the views.
    """
    height, width = pixels.shape[-2:]
    views = [pixels]
    for top, bottom, left, right in crop_windows(height, width, grid):
        part = pixels[..., top:bottom, left:right].float()
        scaled = F.interpolate(part, size=(height, width), mode="bicubic", align_corners=False)
        views.append(scaled.round().clamp(0, 255).to(torch.uint8))
    return views


def pieces(text: str, most: int) -> list[str]:
    """The phrases of a caption, then the pairs of neighbours with what joins them; the whole where there is one phrase.

    At most `most`, the first ones.
    """
    words = text.split()
    plain = [word.strip(".,;:!?\"'()").lower() for word in words]
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for place, word in enumerate([*plain, "and"]):
        if word in JOINING or not word:
            if start is not None:
                spans.append((start, place))
            start = None
        elif start is None:
            start = place
    pairs = [(first[0], second[1]) for first, second in zip(spans, spans[1:], strict=False)]
    found = [" ".join(words[first:last]) for first, last in [*spans, *pairs]] if len(spans) > 1 else [text]
    return found[:most]


def build(config: Config, backbone: "Backbone", seed: int) -> CropMatching:
    """The method, which has nothing to train and draws nothing."""
    settings = config.baselines
    return CropMatching(
        backbone, settings.crop_grid, settings.crop_pieces, settings.crop_share, config.training.negatives
    )
