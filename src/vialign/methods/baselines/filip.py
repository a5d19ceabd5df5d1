"""FILIP (Yao et al. 2021, arXiv:2111.07783): token-wise late interaction, on stored tokens.

The paper pretrains both towers for it; under this recipe the towers stay frozen and a linear map of the tokens on each
side is trained, which starts as the identity, so at the token-wise similarity of the frozen tokens. Those were never
trained to match one by one, so the score also holds the pooled cosine, by a share that is zero in the paper.

Patches are those of the run's readout. As in the paper all tokens of a side take part: the class token stands beside
the patches and the end token beside the caption's words, each as the tower's pooled embedding. The paper has one
similarity for each direction of retrieval; here their mean is taken, since a pair has one score.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.config.experiment import Config
from vialign.features.facts import BackboneFacts
from vialign.methods.objective import Objective, Side, SplitData

_BLOCK = 1 << 24
"""Token similarities that one block of a gallery may hold."""


class TokenMap(nn.Module):
    """The linear map of one side's tokens to unit vectors; it starts as the identity."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dimension))
        self.offset = nn.Parameter(torch.zeros(dimension))

    def forward(
        self, pooled: Float[Tensor, "item dim"], tokens: Float[Tensor, "item token dim"]
    ) -> Float[Tensor, "item together dim"]:
        """The pooled embedding, as a token, and the tokens, which may be in half precision; each of unit length."""
        together = F.normalize(torch.cat([pooled[:, None], tokens.to(pooled.dtype)], dim=1), dim=-1)
        return F.normalize(together @ self.weight + self.offset, dim=-1)


class Filip(Objective):
    """A linear map with an offset on each side's tokens. Trainable parameters in D dimensions: 2 (D² + D).

    Memory of a gallery's side: 4 D bytes a token.
    """

    name = "filip"
    needs = frozenset({"patches", "states"})

    def __init__(self, dimension: int, logit_scale: float, pooled_share: float, negative_weight: float) -> None:
        super().__init__()
        self.logit_scale, self.negative_weight = logit_scale, negative_weight
        self.pooled_share = pooled_share
        self.image, self.text = TokenMap(dimension), TokenMap(dimension)

    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """`pooled`, as stored, and `tokens` (image, 1 + patch, dim): class token and patches, mapped."""
        if data.patches is None:
            raise ValueError("filip needs patches: load the split with them")
        pooled = data.image_pooled[index]
        return {"pooled": pooled, "tokens": self.image(pooled, data.patches[index])}

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """`pooled`, as stored; `tokens` (text, 1 + token, dim): end token and words, mapped; which are `present`."""
        if data.states is None or data.mask is None:
            raise ValueError("filip needs token states: load the split with them")
        pooled = data.text_pooled[index]
        tokens = self.text(pooled, data.states[index][..., : pooled.shape[1]])
        return {"pooled": pooled, "tokens": tokens, "present": F.pad(data.mask[index], (1, 0), value=True)}

    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs, in blocks of images."""
        numbers = images["tokens"].shape[1] * texts["present"].numel()
        parts = images["tokens"].split(max(1, _BLOCK // max(1, numbers)))
        late = torch.cat([late_interaction(part, texts["tokens"], texts["present"]) for part in parts])
        return torch.lerp(late, images["pooled"] @ texts["pooled"].T, self.pooled_share)

    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs."""
        late = reduce_matches(images["tokens"] @ texts["tokens"].transpose(1, 2), texts["present"])
        cosine = (images["pooled"] * texts["pooled"]).sum(dim=-1)
        return torch.lerp(late.to(cosine.dtype), cosine, self.pooled_share)


def late_interaction(
    image_tokens: Float[Tensor, "image patch dim"],
    text_tokens: Float[Tensor, "text token dim"],
    present: Bool[Tensor, "text token"],
) -> Float[Tensor, "image text"]:
    """`reduce_matches` of all pairs of an image and a text; tokens are unit vectors."""
    images, patches, dimension = image_tokens.shape
    texts, tokens, _ = text_tokens.shape
    matches = image_tokens.reshape(-1, dimension) @ text_tokens.reshape(-1, dimension).T
    return reduce_matches(matches.view(images, patches, texts, tokens).transpose(1, 2), present)


def reduce_matches(
    matches: Float[Tensor, "*pair patch token"], present: Bool[Tensor, "*text token"]
) -> Float[Tensor, "*pair"]:
    """Mean of the two token-wise similarities (equations 1 and 2 of the paper).

    The first is the mean over patches of a patch's best match among the caption's tokens, the second the mean over
    tokens of a token's best match among the patches. Tokens that are not `present` take no part.
    """
    best_token = matches.masked_fill(~present[..., None, :], -1.0).amax(dim=-1)
    best_patch = matches.amax(dim=-2) * present
    return (best_token.mean(dim=-1) + best_patch.sum(dim=-1) / present.sum(dim=-1)) / 2


def build(config: Config, backbone: BackboneFacts, seed: int) -> Filip:
    """The method at its start, with the config's recipe; nothing of it is drawn."""
    share = config.baselines.filip_pooled
    return Filip(backbone.dimension, backbone.logit_scale, share, config.training.negatives)
