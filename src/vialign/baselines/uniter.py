"""UNITER (Chen et al. 2020, arXiv:1909.11740): one transformer over an image's regions and a caption's words."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.baselines.explicit import box_numbers, regions_of
from vialign.config import Config
from vialign.contrastive import contrastive_loss
from vialign.features.regions import feature_width
from vialign.objective import Batch, Objective, Side, SplitData
from vialign.random import derive_seed
from vialign.signal.transport import sinkhorn_loss

if TYPE_CHECKING:
    from vialign.backbone import Backbone

HEADS = 2
EPSILON, ITERATIONS = 0.1, 20
_BLOCK = 1 << 21
"""Numbers that the widest intermediate of one block of pairs may hold."""


class Block(nn.Module):
    """One transformer layer, norms first; its feed-forward part is twice as wide as itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(
        self, states: Float[Tensor, "pair token width"], present: Bool[Tensor, "pair token"], first_only: bool = False
    ) -> Float[Tensor, "pair asked width"]:
        """The states one layer on; only that of the first token where no other is asked for."""
        pairs, tokens, width = states.shape
        normed = self.norm(states)
        if first_only:
            states = states[:, :1]
        heads = lambda x: x.view(pairs, -1, HEADS, width // HEADS).transpose(1, 2)
        key, value = self.key_value(normed).chunk(2, -1)
        query = heads(self.query(normed[:, : states.shape[1]]))
        hidden = torch.zeros_like(present, dtype=states.dtype).masked_fill(~present, -1e9)[:, None, None]
        mixed = F.scaled_dot_product_attention(query, heads(key), heads(value), attn_mask=hidden)
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        return states + self.narrow(F.gelu(self.wide(self.norm_between(states))))


class Uniter(Objective):
    name = "uniter"
    needs = frozenset({"regions", "states"})

    def __init__(
        self,
        width: int,
        layers: int,
        region_width: int,
        state_width: int,
        context_length: int,
        *,
        logit_scale: float,
        negative_weight: float,
        transport_weight: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight, self.transport_weight = logit_scale, negative_weight, transport_weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "uniter"))
            self.region, self.location = nn.Linear(region_width, width), nn.Linear(7, width)
            self.word = nn.Linear(state_width, width)
            self.position = nn.Parameter(0.02 * torch.randn(context_length, width))
            self.first = nn.Parameter(0.02 * torch.randn(width))
            self.region_norm, self.word_norm = nn.LayerNorm(width), nn.LayerNorm(width)
            self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.match = nn.Parameter(torch.zeros(width))
        self.match_offset = nn.Parameter(torch.zeros(1))

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        found = regions_of(data, index, self.name)
        numbers = box_numbers(found.boxes)
        where = torch.cat([numbers, numbers[..., 4:5] * numbers[..., 5:]], dim=-1)
        features = F.layer_norm(found.features.float(), found.features.shape[-1:])
        return {
            "pooled": data.image_pooled[index],
            "regions": self.region_norm(self.region(features) + self.location(where)),
            "regions_present": found.present,
        }

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        if data.states is None or data.mask is None:
            raise ValueError("uniter needs token states: load the split with them")
        states = F.layer_norm(data.states[index].float(), data.states.shape[-1:])
        words = self.word_norm(self.word(states) + self.position[: states.shape[1]])
        return {"pooled": data.text_pooled[index], "words": words, "words_present": data.mask[index]}

    def together(self, images: Side, texts: Side, every: bool = False):
        regions, words = images["regions"], texts["words"]
        first = self.first.expand(len(regions), 1, -1)
        states = torch.cat([first, regions, words], dim=1)
        present = F.pad(torch.cat([images["regions_present"], texts["words_present"]], dim=1), (1, 0), value=True)
        for place, block in enumerate(self.blocks):
            states = block(states, present, first_only=not every and place == len(self.blocks) - 1)
        return states

    def logits(self, first):
        return self.norm(first) @ self.match + self.match_offset

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        length = texts["words_present"].shape[1]
        longest = (texts["words_present"] * torch.arange(1, length + 1)).amax(dim=1)
        order = longest.argsort(stable=True)
        n_img = len(images["pooled"])
        tokens = 1 + images["regions"].shape[1] + length
        pairs = max(1, _BLOCK // (tokens * 3 * self.first.shape[0]))
        step = max(1, pairs // n_img)
        cols = []
        for part in order.split(step):
            cut = int(longest[part].max())
            own = {"words": texts["words"][part, :cut], "words_present": texts["words_present"][part, :cut]}
            rows = []
            for rpart in torch.arange(n_img).split(max(1, pairs // len(part))):
                i = rpart.repeat_interleave(len(part)); t = torch.arange(len(part)).repeat(len(rpart))
                s = self.together({k: images[k][i] for k in ("regions", "regions_present")}, {k: own[k][t] for k in own})
                rows.append(self.logits(s[:, 0]).view(len(rpart), len(part)))
            cols.append(torch.cat(rows))
        found = torch.cat(cols, dim=1)[:, order.argsort()]
        return _added(images["pooled"] @ texts["pooled"].T, found)

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        return _added((images["pooled"] * texts["pooled"]).sum(-1), self.logits(self.together(images, texts)[:, 0]))

    def loss(self, data, batch):
        images, texts = self.sides(data, batch)
        scores = self.scores(images, texts)
        contrastive = contrastive_loss(self.logit_scale * scores)
        other = {k: x.roll(1, 0) for k, x in texts.items()}
        ot = (self.alignment(images, texts) - self.alignment(images, other)).mean() / 2
        return self.total(contrastive, self.negative_term(data, batch, images, scores), self.transport_weight * ot)

    def alignment(self, images, texts):
        states = F.normalize(self.together(images, texts, every=True)[:, 1:], dim=-1)
        g = images["regions"].shape[1]
        rp, wp = images["regions_present"].float(), texts["words_present"].float()
        rp, wp = rp / rp.sum(1, keepdim=True).clamp(min=1), wp / wp.sum(1, keepdim=True).clamp(min=1)
        return sinkhorn_loss(states[:, :g], rp, states[:, g:], wp, EPSILON, ITERATIONS)


def _added(cosine, logit):
    return torch.tanh(torch.atanh(cosine.clamp(-0.9999, 0.9999)) + logit)


def build(config: Config, backbone: "Backbone", seed: int) -> Uniter:
    _, states = backbone.text_tokens(backbone.tokenize(["a"]).ids)
    sizes = config.baselines
    return Uniter(
        sizes.uniter_width,
        sizes.uniter_layers,
        feature_width(config.data, backbone.dimension),
        states.shape[-1],
        backbone.context_length,
        logit_scale=backbone.logit_scale,
        negative_weight=config.training.negatives,
        transport_weight=sizes.uniter_transport,
        seed=seed,
    )
