"""From pictures and texts to what the signal is computed from, in memory and one block at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from vialign.disentangle import encode_images, encode_texts
from vialign.language.units import extract_units, units_of, units_or_whole

if TYPE_CHECKING:
    from PIL import Image
    from spacy.language import Language

    from vialign.backbone import Backbone
    from vialign.disentangle import Phrases, Prototypes, TextDisentangler, VisualDisentangler
    from vialign.features import ImageFeatures, TextFeatures


class ImageSide(NamedTuple):
    """What is known of some images."""

    pooled: Float[Tensor, "image dim"]
    """Unit length."""
    prototypes: "Prototypes"


class TextSide(NamedTuple):
    """What is known of some texts."""

    pooled: Float[Tensor, "text dim"]
    """Unit length."""
    phrases: "Phrases"
    parsed: list[bool]
    """Whether the parser found a unit in each text; where not, the whole text stands as one."""
    cut: list[bool]
    """Whether the text is longer than the backbone's context, so that its end is not seen."""


@dataclass(frozen=True)
class Encoder:
    """A backbone with its disentanglers and the parser that they were fitted with."""

    backbone: "Backbone"
    readout: str
    """Which patch tokens of the image tower are used (`vialign.backbone.READOUTS`)."""
    visual: "VisualDisentangler"
    text: "TextDisentangler"
    parser: "Language"

    def images(self, pictures: Sequence["Image.Image"]) -> ImageSide:
        """Global embeddings and prototypes of some pictures, which go through the tower together."""
        pooled, patches = image_features(self.backbone, to_pixels(self.backbone, pictures), self.readout)
        return ImageSide(pooled, prototypes_of(self.visual, patches))

    def texts(self, texts: Sequence[str], text_ids: Sequence[str] | None = None) -> TextSide:
        """Global embeddings and phrase units of some texts, which go through the tower together.

        `text_ids` name the texts in an error, else their places do. Raises UserError when a text has no token.
        """
        names = [str(row) for row in range(len(texts))] if text_ids is None else list(text_ids)
        read = read_tokens(self.backbone, texts, names)
        phrases, parsed = self.phrases(texts, read)
        return TextSide(read.pooled, phrases, parsed, read.cut)

    def phrases(self, texts: Sequence[str], read: "TextTokens") -> tuple["Phrases", list[bool]]:
        """Phrase units of texts whose tokens have been read, and in which of them the parser found a unit."""
        units, parsed = units_or_whole(texts, read.ids, self.parser)
        return encode_texts(self.text, cast("TextFeatures", read), units), parsed


@dataclass(frozen=True)
class TextTokens:
    """What the text tower says of some texts; behind the interface of the feature store."""

    ids: list[str]
    """Names of the texts."""
    pooled: Float[Tensor, "text dim"]
    """Unit length."""
    states: Float[Tensor, "text token state"]
    """As `Backbone.text_tokens`."""
    mask: Bool[Tensor, "text token"]
    offsets: Int[Tensor, "text token 2"]
    cut: list[bool]
    """Whether a text is longer than the context."""

    def block(
        self, start: int, stop: int
    ) -> tuple[Float[Tensor, "row token state"], Bool[Tensor, "row token"], Int[Tensor, "row token 2"]]:
        """States, mask and offsets of texts start..stop."""
        return self.states[start:stop], self.mask[start:stop], self.offsets[start:stop]


def read_tokens(backbone: "Backbone", texts: Sequence[str], names: list[str]) -> TextTokens:
    """The text tower's reading of some texts, which go through it together; on the CPU."""
    tokens = backbone.tokenize(texts)
    with torch.inference_mode():
        pooled, states = backbone.text_tokens(tokens.ids.to(backbone.device))
    return TextTokens(
        names, pooled.float().cpu(), states.float().cpu(), tokens.mask, tokens.offsets, tokens.cut.tolist()
    )


def prototypes_of(visual: "VisualDisentangler", patches: Float[Tensor, "image patch dim"]) -> "Prototypes":
    """Prototypes of images whose patches are in memory."""
    block = _Patches([str(row) for row in range(len(patches))], patches)
    return encode_images(visual, cast("ImageFeatures", block))


def to_pixels(backbone: "Backbone", pictures: Sequence["Image.Image"]) -> UInt8[Tensor, "image 3 height width"]:
    """Pictures after the backbone's resize and crop."""
    return torch.stack([backbone.preprocess(picture) for picture in pictures])


def image_features(
    backbone: "Backbone", pixels: UInt8[Tensor, "image 3 height width"], readout: str
) -> tuple[Float[Tensor, "image dim"], Float[Tensor, "image patch dim"]]:
    """Pooled embeddings (unit length) and patches (not normalised), from one pass; on the CPU."""
    with torch.inference_mode():
        pooled, patches = backbone.image_tokens(backbone.normalise(pixels.to(backbone.device)), readout)
    return pooled.float().cpu(), patches.float().cpu()


def parse(texts: Sequence[str], names: Sequence[str], parser: "Language") -> tuple[pd.DataFrame, list[bool]]:
    """UNITS of some texts under their names, and in which of them the parser found a unit."""
    frame = pd.DataFrame({"text_id": list(names), "text": list(texts)})
    units, fallbacks = extract_units(frame, parser)
    if not fallbacks:
        return units, [True] * len(texts)
    alone = set(units["text_id"].drop_duplicates(keep=False))
    return units, [name not in alone or bool(units_of(parser(text))) for name, text in zip(names, texts, strict=True)]


@dataclass(frozen=True)
class _Patches:
    """Patches in memory behind the interface of the feature store."""

    ids: list[str]
    tensor: Float[Tensor, "image patch dim"]

    def patches(self, start: int, stop: int) -> Float[Tensor, "row patch dim"]:
        return self.tensor[start:stop]
