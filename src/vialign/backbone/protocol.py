"""What the rest of the project may ask of a frozen dual encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor, nn

if TYPE_CHECKING:
    from PIL import Image

    from vialign.backbone.image_towers import TowerOutput

READOUTS = ("final", "value", "self_self", "early")
"""Ways to read patch tokens out of an image tower; which of them a tower offers, its backbone says."""


@dataclass(frozen=True)
class Tokens:
    """A batch of tokenised texts, cut to its longest text where the text tower allows it."""

    ids: Int[Tensor, "batch token"]
    """Vocabulary ids: start (where the tokenizer has one), the text's tokens, end, then padding."""
    mask: Bool[Tensor, "batch token"]
    """True on the text's own tokens: not on start, end or padding."""
    offsets: Int[Tensor, "batch token 2"]
    """First character and one past the last character of each token in the original text; 0, 0 outside the mask."""
    cut: Bool[Tensor, "batch"]
    """Whether the text has more tokens than the context takes, so that its end was cut off."""


@runtime_checkable
class Backbone(Protocol):
    """A frozen dual encoder: in eval mode, no parameter requires a gradient, gradients reach the pixels."""

    contract: dict[str, str]
    """What decides the numbers: architecture, definition, activation, checkpoint, preprocessing, tokenizer."""
    model: nn.Module
    """The encoder itself, for adapters and for the efficiency ledger."""
    dimension: int
    """D, size of the joint space."""
    grid: tuple[int, int]
    """Rows and columns of the patch grid; patches are row-major."""
    context_length: int
    """Most tokens of a text, start and end included."""
    image_size: int
    """Side of the square that the image tower sees, in pixels."""
    resize_mode: str
    """How an image becomes that square: `shortest` (resize shortest side, centre crop), `longest` or `squash`."""
    readouts: tuple[str, ...]
    """The patch readouts that the image tower offers in one pass; `final` is always among them. `crops` is one of every
    backbone, at the price of a pass for each crop.
    """
    trunk_width: int
    """Channels that a convolutional image trunk hands to its head; 0 where the tower has no such cut."""
    logit_scale: float
    """Factor of the cosines in the contrastive loss (the exponential is already applied)."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        ...

    def preprocess(self, image: "Image.Image") -> UInt8[Tensor, "3 height width"]:
        """Resize and crop, before normalisation."""
        ...

    def normalise(self, pixels: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Subtract mean and divide by deviation: uint8 in 0..255, or float in [0, 1] (then differentiable)."""
        ...

    def encode_image(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Pooled image embeddings, unit length."""
        ...

    def image_tokens(
        self, pixels: Float[Tensor, "batch 3 height width"], readout: str
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch patch dim"]]:
        """Pooled embeddings (unit length) and patch tokens of the joint space (not normalised), from one pass."""
        ...

    def image_outputs(self, pixels: Float[Tensor, "batch 3 height width"], readouts: Sequence[str]) -> "TowerOutput":
        """As `image_tokens`, for several readouts of the same pass, with the trunk's output where there is one."""
        ...

    def encode_trunk(self, trunk: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch dim"]:
        """Pooled image embeddings, unit length, from the trunk's output. Raises ValueError where there is no trunk."""
        ...

    def attention_maps(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch head patch"] | None:
        """Attention of the pooled token to every patch in the last block, by head; None where a tower has none.

        What the token gives to itself is left out, so a map sums to at most 1.
        """
        ...

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids with their place in the original texts; over-long texts are truncated."""
        ...

    def encode_text(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch dim"]:
        """Pooled text embeddings, unit length; works on ids that are cut to the longest text."""
        ...

    def token_embeddings(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The text tower's own embedding of each token, before positions and layers: where a gradient can be taken."""
        ...

    def encode_token_embeddings(
        self, embeddings: Float[Tensor, "batch token width"], ids: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch dim"]:
        """As `encode_text`, from token embeddings instead of those of `ids`; differentiable.

        `ids` still say where a text ends and what is padding.
        """
        ...

    def text_tokens(
        self, ids: Int[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token state"]]:
        """Pooled embeddings (unit length) and token states (not normalised).

        A state is the token's in the joint space (`dimension` numbers: last norm, then projection), followed by the
        tower's own embedding of the token. A contrastively trained tower has no use for words such as "above" and lets
        them fade from the first part; the second still knows them.
        """
        ...
