"""UNITER (Chen et al. 2020, arXiv:1909.11740): one small transformer over an image's regions and a caption's words.

From the paper: regions enter by their feature and seven numbers of their place (corners, width, height, area), words by
their state and position, behind one first token whose last state says how well image and text match; and word-region
alignment, an optimal transport between the last states of words and regions. As in the authors' code it is made small
for true pairs and large for wrong ones: made small alone, it is met by giving all words and regions the same state.

Not from the paper: the transformer is small and trained from its start under the common recipe, where the paper's has
twelve layers and is pretrained on millions of pairs. Words enter by the stored states of the frozen text tower. The
match adds to the frozen towers' cosine instead of standing alone, and is trained by the losses that all methods share,
over all pairs of a batch, instead of on drawn pairs. Layers have their norms first, which needs no long warm-up.

Every pair is a pass of its own through the transformer, so a gallery costs images times texts of them: some 35 µs a
pair on one core at the default size with four regions. Large galleries are for re-ranking (`evaluation.rerank`).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.contrastive import contrastive_loss
from vialign.features.facts import BackboneFacts
from vialign.features.regions import feature_width
from vialign.methods.baselines.explicit import box_numbers, regions_of, standardised, words_of
from vialign.methods.objective import Batch, Objective, Side, SplitData, select
from vialign.random import derive_seed
from vialign.signal.transport import sinkhorn_loss

HEADS = 2
EPSILON, ITERATIONS = 0.1, 20
"""Entropic regularisation and iterations of the transport."""
_BLOCK = 1 << 20
"""Numbers that the widest intermediate of one block of a gallery may hold: as much as a core's cache."""
_IMAGES = 32
"""Images that one block of texts meets at a time, about."""
_HIDDEN = -1e9
"""Added to the attention logits of padding."""


class Layer(nn.Module):
    """One transformer layer of `width` w, norms first: 8 w² + 11 w parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm_between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(
        self, states: Float[Tensor, "pair token width"], present: Bool[Tensor, "pair token"], asked: int
    ) -> Float[Tensor, "pair asked width"]:
        """The next states of the first `asked` tokens, which see all that are `present`."""
        normed, states = self.norm(states), states[:, :asked]
        keys, values = self.key_value(normed).chunk(2, dim=-1)
        parts = (self.query(normed[:, :asked]), keys, values)
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        hidden = states.new_zeros(present.shape).masked_fill(~present, _HIDDEN)[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=hidden)
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        return states + self.narrow(F.gelu(self.wide(self.norm_between(states))))


class Uniter(Objective):
    """A transformer over regions and words whose match adds to the frozen towers' cosine.

    Trainable parameters at width w with n layers, region features of F numbers, token states of S and a context of L:
    w (F + 1) + 8 w for feature and place, w (S + 1) + L w for word and position, w for the first token, 4 w for their
    norms, n (8 w² + 11 w), and 3 w + 1 for norm and match. Memory of a gallery's side: 4 w bytes a region or word.
    """

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
            self.feature, self.place = nn.Linear(region_width, width), nn.Linear(7, width)
            self.word = nn.Linear(state_width, width)
            self.position = nn.Parameter(0.02 * torch.randn(context_length, width))
            self.first = nn.Parameter(0.02 * torch.randn(width))
            self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
            self.match = nn.Linear(width, 1)
        self.region_norm, self.word_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        nn.init.zeros_(self.match.weight)
        nn.init.zeros_(self.match.bias)

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """`pooled`, as stored; `regions` (image, region, width), and which of them are `marked`."""
        found, pooled = regions_of(data, index, self.name), data.image_pooled[index]
        numbers = box_numbers(found.boxes).to(pooled.dtype)
        place = torch.cat([numbers, numbers[..., 4:5] * numbers[..., 5:6]], dim=-1)
        regions = self.feature(standardised(found.features.to(pooled.dtype))) + self.place(place)
        return {"pooled": pooled, "regions": self.region_norm(regions), "marked": found.present}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """`pooled`, as stored; `words` (text, word, width), and which of them are `said`."""
        pooled = data.text_pooled[index]
        states, said = words_of(data, index, self.name)
        inner, lexical = states.split([pooled.shape[1], states.shape[2] - pooled.shape[1]], dim=-1)
        words = self.word(torch.cat([standardised(inner), standardised(lexical)], dim=-1))
        return {"pooled": pooled, "words": self.word_norm(words + self.position[: words.shape[1]]), "said": said}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, in blocks of pairs; texts of like length share a block, which is cut to its longest."""
        parts, order = [], []
        for chosen, block in self._text_blocks(images, texts):
            columns = [self._matches(images, rows, block) for rows in self._image_blocks(images, block)]
            parts.append(torch.cat(columns))
            order.append(chosen)
        place = torch.cat(order).argsort()
        return added(images["pooled"] @ texts["pooled"].T, torch.cat(parts, dim=1)[:, place])

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        matches = self._match(self.together(images, texts, every=False))
        return added((images["pooled"] * texts["pooled"]).sum(dim=-1), matches)

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """The plain losses of all methods, and word-region alignment as the regularisation."""
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        contrastive = contrastive_loss(self.logit_scale * scores)
        negative = self.negative_term(batch, images, scores, wrong)
        return self.total(contrastive, negative, self.transport_weight * self.alignment(images, texts))

    def alignment(self, images: Side, texts: Side) -> Float[Tensor, ""]:
        """Half of how much dearer the transport of true pairs is than that of each image with the next one's text."""
        true = self.transport(images, texts)
        return (true - self.transport(images, {name: part.roll(1, dims=0) for name, part in texts.items()})).mean() / 2

    def transport(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Optimal transport between the last states of words and regions of aligned pairs, all of equal mass."""
        states = F.normalize(self.together(images, texts, every=True)[:, 1:], dim=-1)
        regions, words = states.tensor_split([images["regions"].shape[1]], dim=1)
        mass, weight = (_even(present).to(states) for present in (images["marked"], texts["said"]))
        return sinkhorn_loss(regions, mass, words, weight, EPSILON, ITERATIONS)

    def together(self, images: Side, texts: Side, *, every: bool) -> Float[Tensor, "pair token width"]:
        """Last states of aligned pairs: of the first token, and where `every` is asked of regions and words too."""
        first = self.first.expand(len(images["regions"]), 1, -1)
        states = torch.cat([first, images["regions"], texts["words"]], dim=1)
        present = F.pad(torch.cat([images["marked"], texts["said"]], dim=1), (1, 0), value=True)
        for layer in self.layers[:-1]:
            states = layer(states, present, states.shape[1])
        return self.layers[-1](states, present, states.shape[1] if every else 1)

    def _match(self, states: Tensor) -> Tensor:
        return self.match(self.norm(states[:, 0]))[:, 0]

    def _matches(self, images: Side, rows: Tensor, texts: Side) -> Float[Tensor, "image text"]:
        """Matches of the images at these positions with all of these texts."""
        count = len(texts["said"])
        left = select(images, rows.repeat_interleave(count))
        right = select(texts, torch.arange(count, device=rows.device).repeat(len(rows)))
        return self._match(self.together(left, right, every=False)).view(len(rows), count)

    def _text_blocks(self, images: Side, texts: Side) -> Iterator[tuple[Tensor, Side]]:
        """Positions of texts, shortest first, and what of them is read in the transformer."""
        said = texts["said"]
        longest = (said * torch.arange(1, said.shape[1] + 1, device=said.device)).amax(dim=1)
        for chosen in longest.argsort(stable=True).split(max(1, self._pairs(images, said) // _IMAGES)):
            cut = max(1, int(longest[chosen].max()))
            yield chosen, {"words": texts["words"][chosen, :cut], "said": said[chosen, :cut]}

    def _image_blocks(self, images: Side, texts: Side) -> tuple[Tensor, ...]:
        """Positions of images, so many that their pairs with all of these texts make a block."""
        size = max(1, self._pairs(images, texts["said"]) // len(texts["said"]))
        return torch.arange(len(images["pooled"]), device=images["pooled"].device).split(size)

    def _pairs(self, images: Side, said: Tensor) -> int:
        """Pairs of a block when texts are that long."""
        tokens = 1 + images["marked"].shape[1] + said.shape[1]
        return max(1, _BLOCK // (2 * self.first.shape[0] * tokens))


def _even(present: Bool[Tensor, "pair item"]) -> Float[Tensor, "pair item"]:
    """One mass, spread evenly over what is present; none where nothing is."""
    return present / present.sum(dim=1, keepdim=True).clamp(min=1)


def added(cosine: Float[Tensor, "*pair"], match: Float[Tensor, "*pair"]) -> Float[Tensor, "*pair"]:
    """The cosine with the match added on Fisher's scale, artanh, so that the sum is a similarity in [-1, 1] again."""
    return torch.tanh(torch.atanh(cosine.clamp(-0.9999, 0.9999)) + match)


def build(config: Config, backbone: BackboneFacts, seed: int) -> Uniter:
    """The method at its start, with the config's sizes and recipe."""
    return Uniter(
        config.baselines.uniter_width,
        config.baselines.uniter_layers,
        feature_width(config.data, backbone.dimension),
        backbone.state_width,
        backbone.context_length,
        logit_scale=backbone.logit_scale,
        negative_weight=config.training.negatives,
        transport_weight=config.baselines.uniter_transport,
        seed=seed,
    )
