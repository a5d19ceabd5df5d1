"""An open_clip dual encoder behind the `Backbone` protocol."""

from collections.abc import Mapping, Sequence

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from vialign.backbone.image_towers import TowerOutput, image_tower
from vialign.backbone.offsets import encode_with_offsets
from vialign.backbone.protocol import Tokens
from vialign.backbone.registry import merges_digest, vocabulary_size
from vialign.backbone.text_tower import text_tower


class OpenClipBackbone:
    """A frozen open_clip model; see `vialign.backbone.protocol.Backbone` for what each method gives.

    `contract` names architecture, definition, activation and checkpoint; preprocessing and tokenizer are added here.
    Raises UserError when a tower is of a kind that gives no patch or token embeddings.
    """

    def __init__(self, model: nn.Module, tokenizer: SimpleTokenizer, contract: Mapping[str, str]) -> None:
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self._image = image_tower(model.get_submodule("visual"), contract["architecture"])
        self._text = text_tower(model, contract["architecture"])
        settings = open_clip.get_model_preprocess_cfg(model)
        height, width = _pair(settings["size"])
        if height != width:
            raise ValueError(f"{contract['architecture']} sees {height}x{width} pixels; only squares are supported")
        self.image_size = height
        self.resize_mode: str = settings.get("resize_mode", "shortest")
        self._mean = torch.tensor(_triple(settings["mean"])).view(1, 3, 1, 1)
        self._deviation = torch.tensor(_triple(settings["std"])).view(1, 3, 1, 1)
        transform = open_clip.image_transform(
            height,
            is_train=False,
            resize_mode=self.resize_mode,
            interpolation=settings.get("interpolation", "bicubic"),
            fill_color=settings.get("fill_color", 0),
        )
        self._steps = transform.transforms[:-2]  # without conversion to a tensor and normalisation
        self.grid = self._image.grid
        self.readouts = self._image.readouts
        self.trunk_width = self._image.trunk_width
        self.context_length: int = tokenizer.context_length
        self.logit_scale = float(model.get_parameter("logit_scale").detach().exp())
        with torch.no_grad():
            self.dimension: int = self._text.read(torch.zeros(1, self.context_length, dtype=torch.long))[0].shape[1]
        self.contract = {
            **contract,
            "preprocessing": (
                f"size {height}, {settings.get('interpolation', 'bicubic')}, resize {self.resize_mode}, "
                f"mean {_triple(settings['mean'])}, std {_triple(settings['std'])}"
            ),
            "tokenizer": (
                f"{type(tokenizer).__name__}, {vocabulary_size(tokenizer)} tokens, context {self.context_length}, "
                f"merges {merges_digest(tokenizer)[:16]}"
            ),
        }

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> "OpenClipBackbone":
        """Move the model; returns itself."""
        self.model.to(device)
        return self

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
        return functional.normalize(self._image.read(pixels, ()).pooled, dim=-1)

    def encode_trunk(self, trunk: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch dim"]:
        """Pooled image embeddings, unit length, from what the trunk gave."""
        return functional.normalize(self._image.project_trunk(trunk), dim=-1)

    def image_outputs(self, pixels: Float[Tensor, "batch 3 height width"], readouts: Sequence[str]) -> TowerOutput:
        """Pooled embeddings (unit length), the patches of several readouts (not normalised) and the trunk's output."""
        unknown = [name for name in readouts if name not in self.readouts]
        if unknown:
            raise ValueError(f"{self.contract['architecture']} has no readout {unknown[0]!r}, only {self.readouts}")
        output = self._image.read(pixels, readouts)
        return output._replace(pooled=functional.normalize(output.pooled, dim=-1))

    def image_tokens(
        self, pixels: Float[Tensor, "batch 3 height width"], readout: str
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch patch dim"]]:
        """Pooled embeddings (unit length) and patches (not normalised) in the joint space, from one pass."""
        output = self.image_outputs(pixels, (readout,))
        return output.pooled, output.patches[readout]

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Ids, mask and character offsets; a text longer than the context keeps its first tokens, as in open_clip.

        Cut to the longest text of the batch where the text tower allows it, else as long as the context.
        """
        room = self.context_length - 2
        rows = [encode_with_offsets(self.tokenizer, text) for text in texts]
        longest = max((min(len(ids), room) for ids, _ in rows), default=0) + 2
        length = longest if self._text.cuts else self.context_length
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        offsets = torch.zeros(len(rows), length, 2, dtype=torch.long)
        for row, (tokens, spans) in enumerate(rows):
            count = min(len(tokens), room)
            ids[row, 0] = self.tokenizer.sot_token_id
            ids[row, count + 1] = self.tokenizer.eot_token_id
            if count:
                ids[row, 1 : count + 1] = torch.tensor(tokens[:count])
                offsets[row, 1 : count + 1] = torch.tensor(spans[:count])
                mask[row, 1 : count + 1] = True
        return Tokens(ids, mask, offsets)

    def encode_text(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch dim"]:
        """Pooled text embeddings, unit length, the same on cut ids as on the whole context."""
        return functional.normalize(self._text.read(ids)[0], dim=-1)

    def text_tokens(
        self, ids: Int[Tensor, "batch token"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token state"]]:
        """Pooled embeddings (unit length) and token states (not normalised): see the protocol."""
        pooled, states = self._text.read(ids)
        return functional.normalize(pooled, dim=-1), torch.cat([states, self._text.embed(ids)], dim=-1)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _triple(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,) * 3
