"""BLIP's two towers through transformers, behind the `Backbone` protocol (Li et al. 2022, arXiv:2201.12086).

What is read is the contrastive half of `BlipForImageTextRetrieval`: its image tower, its text tower without the
cross-attention that looks at the image, and their projections. The matching head judges one pair at a time and has no
place in a dual encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn

from vialign.backbone.attention import Heads, States, by_head, joined
from vialign.backbone.checkpoint import fill, read_state, sha256
from vialign.backbone.dual_encoder import DualEncoder, Preprocessing
from vialign.backbone.image_towers import AttentionMaps, Patches, Pixels, Pooled, TransformerTower
from vialign.backbone.registry import BLIP, definition_digest
from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.config.data import BackboneConfig
from vialign.errors import UserError, one_line
from vialign.files.text import read_json
from vialign.random import derive_seed

if TYPE_CHECKING:
    from transformers import BlipConfig

CONTEXT = 35
"""Tokens of a text in BLIP's own retrieval, start and end included."""
NAMES = {
    "visual": "vision_model",
    "image_projection": "vision_proj",
    "text": "text_encoder",
    "text_projection": "text_proj",
}
"""Where a published checkpoint keeps each part of `BlipTowers`."""


class BlipTowers(nn.Module):
    """The two towers and their projections, freshly initialised."""

    def __init__(self, config: "BlipConfig") -> None:
        from transformers.models.blip.modeling_blip import BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        super().__init__()
        text, vision = config.text_config, config.vision_config
        text.is_decoder = False  # a decoder would bring its cross-attention
        vision.initializer_range = config.initializer_range  # the default, 1e-10, gives every image the same embedding
        self.visual = BlipVisionModel(vision)
        self.image_projection = nn.Linear(vision.hidden_size, config.image_text_hidden_size)
        self.text = BlipTextModel(text, add_pooling_layer=False)
        self.text_projection = nn.Linear(text.hidden_size, config.image_text_hidden_size)


@dataclass(frozen=True)
class BlipPath:
    """The attention of one block of the image tower."""

    block: Any

    def split(self, states: States) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values, from the block's one input projection."""
        attention = self.block.self_attn
        parts = attention.qkv(self.block.layer_norm1(states)).chunk(3, dim=-1)
        query, key, value = (by_head(part, attention.num_heads) for part in parts)
        return query, key, value

    def join(self, mixed: Heads) -> States:
        """Through the output projection."""
        projected: Tensor = self.block.self_attn.projection(joined(mixed))
        return projected

    def finish(self, states: States, attended: States) -> States:
        """Both residuals, around the second norm and the two layers."""
        states = states + attended
        return states + self.block.mlp(self.block.layer_norm2(states))


class BlipImageTower(TransformerTower):
    """A vision transformer with a class token."""

    pools_first = True

    def __init__(self, model: BlipTowers) -> None:
        settings, blocks = model.visual.config, model.visual.encoder.layers
        side = settings.image_size // settings.patch_size
        super().__init__((side, side), len(blocks), 1, BlipPath(blocks[-1]))
        self.model = model

    def states(self, pixels: Pixels, depths: Sequence[int]) -> list[States]:
        """After `depths` blocks each."""
        found = [self.model.visual.embeddings(pixels)]
        for block in self.model.visual.encoder.layers[: max(depths)]:
            found.append(block(found[-1]))
        return [found[depth] for depth in depths]

    def pool(self, states: States) -> Pooled:
        """The class token, in the joint space."""
        return self.project(states[:, :1]).squeeze(1)

    def project(self, patches: States) -> Patches:
        """Last norm, then projection."""
        return self.model.image_projection(self.model.visual.post_layernorm(patches))

    def attention_maps(self, pixels: Pixels) -> AttentionMaps | None:
        """Of the class token in the last block."""
        return self.first_token_maps(pixels)


@dataclass(frozen=True)
class BlipTextTower:
    """A BERT that looks both ways and masks its padding, so padding can be cut off."""

    model: BlipTowers
    padding: int
    """Id of the padding token."""
    cuts = True
    kept_padding = 0

    def read(
        self, ids: Int[Tensor, "batch token"], embeddings: Float[Tensor, "batch token width"] | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch token dim"]]:
        """Projected state of the first token, and those of all tokens."""
        embeddings = self.embed(ids) if embeddings is None else embeddings
        mask = ids != self.padding
        # transformers adds the positions in place
        output = self.model.text(inputs_embeds=embeddings.clone(), attention_mask=mask)
        states = self.model.text_projection(output.last_hidden_state)
        return states[:, 0], states

    def embed(self, ids: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """The embedding of each token, before positions."""
        embedding: Tensor = self.model.text.embeddings.word_embeddings(ids)
        return embedding


def load_blip(config: BackboneConfig, seed: int) -> DualEncoder:
    """BLIP as `backbone.definition` describes it: a folder with config.json and, unless named apart, tokenizer.json.

    `backbone.checkpoint` is a local file of a `BlipForImageTextRetrieval`; None draws random weights from `seed`. The
    published files leave out the learned temperature, so the logit scale is the initial one. Raises UserError when a
    file is missing, malformed or of another size.
    """
    settings = _settings(config)
    model = _draw(settings, config, seed)
    if config.checkpoint is not None:
        _load(model, config.checkpoint)
    text, vision = model.text.config, model.visual.config
    tokenizer = FileTokenizer(
        config.tokenizer or str(config.definition),
        min(CONTEXT, text.max_position_embeddings),
        text.vocab_size,
        clean=None,
    )
    return DualEncoder(
        model,
        BlipImageTower(model),
        BlipTextTower(model, tokenizer.padding),
        tokenizer,
        Preprocessing(vision.image_size, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, resize_mode="squash"),
        float(torch.tensor(settings.get("logit_scale_init_value", 2.6592)).exp()),
        {
            "architecture": BLIP,
            "definition": definition_digest(settings),
            "activation": vision.hidden_act,
            "checkpoint": f"random:{seed}" if config.checkpoint is None else sha256(config.checkpoint),
        },
    )


def _settings(config: BackboneConfig) -> dict[str, Any]:
    if config.definition is None:
        raise UserError("backbone.definition: name the folder of a BLIP model: config.json, tokenizer.json")
    path = Path(config.definition) / "config.json"
    if not path.exists():
        raise UserError(f"backbone.definition: {path}: no such file; name the folder of a BLIP model")
    settings: dict[str, Any] = read_json(path, mend="get it again", finite=True)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: it is no object; name the folder of a BLIP model")
    if settings.get("model_type") != "blip":
        raise UserError(f"{path}: model_type is {settings.get('model_type')!r}, not 'blip'; name a BLIP model's folder")
    return settings


def _draw(settings: dict[str, Any], config: BackboneConfig, seed: int) -> BlipTowers:
    from transformers import BlipConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "backbone", BLIP))
        try:
            return BlipTowers(BlipConfig.from_dict(settings))
        except Exception as error:  # whatever numbers and names the settings may hold
            reason = one_line(error)
            raise UserError(
                f"{config.definition}/config.json: not a model that transformers can build ({reason}); correct it"
            ) from error


def _load(model: BlipTowers, checkpoint: str) -> None:
    if not Path(checkpoint).is_file():
        raise UserError(
            f"backbone.checkpoint: {checkpoint!r} is not a file; name the model.safetensors or pytorch_model.bin "
            "of a BlipForImageTextRetrieval"
        )
    used = {_published(name) for name in model.state_dict()}
    state = {name: tensor for name, tensor in read_state(checkpoint).items() if name in used}
    fill(model, state, checkpoint, "BlipForImageTextRetrieval", _published)


def _published(name: str) -> str:
    """The name of a tensor of `BlipTowers` in a published checkpoint."""
    part, rest = name.split(".", 1)
    return f"{NAMES[part]}.{rest}"
