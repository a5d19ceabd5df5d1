"""What every backbone does alike, whatever its towers are: pixels, tokens and embeddings behind the protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_map_only

from vialign.backbone.crops import crop_patches
from vialign.backbone.image_towers import ImageTower, TowerOutput
from vialign.backbone.protocol import Tokens
from vialign.backbone.tokenizers import TextTokenizer, to_tokens
from vialign.device import CPU, autocast
from vialign.errors import UserError
from vialign.names import CROPS

Given = ParamSpec("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the numbers that the image tower sees."""

    size: int
    """Side of the square, in pixels."""
    mean: tuple[float, ...]
    """Of red, green and blue in [0, 1]."""
    deviation: tuple[float, ...]
    """Of red, green and blue in [0, 1]."""
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any], architecture: str) -> "Preprocessing":
        """From open_clip's settings. Raises UserError where the tower does not see squares."""
        size = settings["size"]
        height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
        if height != width:
            raise UserError(
                f"backbone.architecture: {architecture} sees {height}x{width} pixels; only squares are supported"
            )
        return cls(
            size=height,
            mean=_triple(settings["mean"]),
            deviation=_triple(settings["std"]),
            interpolation=settings.get("interpolation", "bicubic"),
            resize_mode=settings.get("resize_mode", "shortest"),
            fill_color=settings.get("fill_color", 0),
        )

    def __str__(self) -> str:
        return (
            f"size {self.size}, {self.interpolation}, resize {self.resize_mode}, mean {self.mean}, std {self.deviation}"
        )


@runtime_checkable
class TextReader(Protocol):
    """Reads one kind of text tower."""

    @property
    def cuts(self) -> bool:
        """Whether padding can be cut off without changing a number."""
        ...

    @property
    def kept_padding(self) -> int:
        """Positions after a text's end that must be left, where there are any, so that the cut changes nothing."""
        ...

    def read(
        self, ids: Int[Tensor, "batch token"], embeddings: Float[Tensor, "batch token width"] | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token dim"]]:
        """Pooled embeddings (not normalised) and token states in the joint space.

        `embeddings` stand in for what `embed` gives for the ids.
        """
        ...

    def embed(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The tower's embedding of each token, before any of its layers."""
        ...


class DualEncoder:
    """A frozen image tower and text tower; see `vialign.backbone.protocol.Backbone` for what each method gives.

    `contract` names architecture, definition, activation and checkpoint; preprocessing and tokenizer are added here.
    """

    precision: str = "float32"
    """Number format of the towers' passes (`backbone.precision`); what they give is in single precision."""

    def __init__(
        self,
        model: nn.Module,
        image: ImageTower,
        text: TextReader,
        tokenizer: TextTokenizer,
        preprocessing: Preprocessing,
        logit_scale: float,
        contract: Mapping[str, str],
    ) -> None:
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.logit_scale = logit_scale
        self.tokenizer = tokenizer
        self._image, self._text = image, text
        self.grid, self.readouts, self.trunk_width = image.grid, image.readouts, image.trunk_width
        self.image_size, self.resize_mode = preprocessing.size, preprocessing.resize_mode
        self._mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
        self._deviation = torch.tensor(preprocessing.deviation).view(1, 3, 1, 1)
        transform = open_clip.image_transform(
            preprocessing.size,
            is_train=False,
            resize_mode=preprocessing.resize_mode,
            interpolation=preprocessing.interpolation,
            fill_color=preprocessing.fill_color,
        )
        self._steps = transform.transforms[:-2]  # without conversion to a tensor and normalisation
        self.context_length: int = tokenizer.context_length
        with torch.no_grad():
            self.dimension: int = text.read(torch.zeros(1, self.context_length, dtype=torch.long))[0].shape[1]
        self.contract = {
            **contract,
            "preprocessing": str(preprocessing),
            "tokenizer": tokenizer.description,
        }

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> "DualEncoder":
        """Move the model; returns itself."""
        self.model.to(device)
        return self

    def in_precision(self, precision: str) -> "DualEncoder":
        """Run the towers in another number format, which the contract names unless it is float32; returns itself."""
        self.precision = precision
        self.contract.pop("precision", None)
        if precision != "float32":
            self.contract["precision"] = precision
        return self

    def _run(self, tower: Callable[Given, Found], *given: Given.args, **named: Given.kwargs) -> Found:
        """What a tower gives in the backbone's precision, as single precision where that is a shorter one."""
        if self.precision == "float32":
            return tower(*given, **named)
        with autocast(self.device, self.precision):
            found = tower(*given, **named)
        return tree_map_only(Tensor, Tensor.float, found)

    def preprocess(self, image: Image.Image) -> UInt8[Tensor, "3 height width"]:
        """open_clip's own resize and crop of a PIL image, as RGB bytes."""
        for step in self._steps:
            image = step(image)
        return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()

    def normalise(self, pixels: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Mean zero and deviation one a channel: uint8 in 0..255, or float in [0, 1], which stays differentiable."""
        scaled = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return (scaled - self._mean.to(scaled)) / self._deviation.to(scaled)

    def encode_image(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Pooled image embeddings, unit length."""
        return functional.normalize(self._run(self._image.read, pixels, ()).pooled, dim=-1)

    def encode_trunk(self, trunk: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch dim"]:
        """Pooled image embeddings, unit length, from what the trunk gave."""
        return functional.normalize(self._run(self._image.project_trunk, trunk), dim=-1)

    def image_outputs(self, pixels: Float[Tensor, "batch 3 height width"], readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings (unit length), the patches of several readouts (not normalised) and the trunk's output."""
        inside = [name for name in readouts if name != CROPS]
        unknown = [name for name in inside if name not in self.readouts]
        if unknown:
            raise ValueError(f"{self.contract['architecture']} has no readout {unknown[0]!r}, only {self.readouts}")
        output = self._run(self._image.read, pixels, inside)
        apart = {CROPS: crop_patches(self.encode_image, pixels, self.grid)} if CROPS in readouts else {}
        return output._replace(pooled=functional.normalize(output.pooled, dim=-1), patches=output.patches | apart)

    def image_tokens(
        self, pixels: Float[Tensor, "batch 3 height width"], readout: str
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch patch dim"]]:
        """Pooled embeddings (unit length) and patches (not normalised) in the joint space, from one pass."""
        output = self.image_outputs(pixels, (readout,))
        return output.pooled, output.patches[readout]

    def attention_maps(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch head patch"] | None:
        """The tower's own attention of its pooled token to the patches; None where it has no such token."""
        return self._run(self._image.attention_maps, pixels)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids, mask and character offsets; a text longer than the context keeps its first tokens, as in open_clip.

        Cut to the longest text of the batch where the text tower allows it, else as long as the context. They are on
        the CPU, whatever torch's default device is.
        """
        with CPU:
            return to_tokens(self.tokenizer, texts, self._text.kept_padding if self._text.cuts else self.context_length)

    def encode_text(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch dim"]:
        """Pooled text embeddings, unit length, the same on cut ids as on the whole context."""
        return functional.normalize(self._run(self._text.read, ids)[0], dim=-1)

    def token_embeddings(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The text tower's own embedding of each token, before positions and layers."""
        return self._text.embed(ids)

    def encode_token_embeddings(
        self, embeddings: Float[Tensor, "batch token width"], ids: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch dim"]:
        """Pooled text embeddings, unit length, from token embeddings; differentiable."""
        return functional.normalize(self._run(self._text.read, ids, embeddings)[0], dim=-1)

    def text_tokens(
        self, ids: Int[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token state"]]:
        """Pooled embeddings (unit length) and token states (not normalised): see the protocol."""
        pooled, states = self._run(self._text.read, ids)
        return functional.normalize(pooled, dim=-1), torch.cat([states, self._text.embed(ids)], dim=-1)


def _triple(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,) * 3
