"""FSC-CLIP (Oh et al. 2024, arXiv:2410.05210): LoRA, with hard negatives seen locally and a focal, smoothed loss.

A negative caption is told from the true one twice: by the embeddings, and by its tokens, each against the patches that
it looks at. Both losses weigh down what is told apart already (focal) and leave the negative some share of the truth
(label smoothing), since a rule-made negative is at times as right as its caption; the paper calls such a loss
calibrated. What differs from the paper: one negative a caption, by the rules of the run; the adapters of `lora`, which
lie on attention projections alone; and the shared recipe. The authors' code (https://github.com/ytaek-oh/fsc-clip)
leaves out the start token, which takes part here, and reads patches without the tower's last norm; it keeps small
weights unless it is told to drop them (`--sim-sparsify`).
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.config.experiment import Config
from vialign.config.methods import FscClipConfig
from vialign.contrastive import contrastive_loss
from vialign.methods.baselines.local_lora import LocalLora
from vialign.methods.objective import Batch, Side, SplitData, select

if TYPE_CHECKING:
    from vialign.backbone import Backbone


class FscClip(LocalLora):
    """LoRA with the losses of FSC-CLIP. Trainable parameters: those of `lora`; it scores as LoRA does."""

    name = "fsc-clip"

    def __init__(
        self, backbone: "Backbone", rank: int, negative_weight: float, settings: FscClipConfig, seed: int
    ) -> None:
        super().__init__(backbone, rank, negative_weight, seed)
        self.settings = settings

    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """Embeddings from token ids; in a step of training also `tokens`, unit length, and which are `present`."""
        if not self._in_step or data.token_ids is None:
            return super().texts(data, index)
        ids = data.token_ids[index].long()
        pooled, states = self.backbone.text_tokens(ids)
        padding = self.backbone.tokenizer.padding  # type: ignore[attr-defined]
        return {
            "pooled": pooled,
            "tokens": F.normalize(states[..., : pooled.shape[1]], dim=-1),
            "present": ids != padding,
        }

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch; `negative` is the weighted sum of the global and the local one."""
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        negative = scores.new_zeros(())
        if wrong is not None:
            present = batch.negatives >= 0
            own, true = select(images, present), select(texts, present)
            whole = [self.logit_scale * self.pair_scores(own, side) for side in (true, wrong)]
            local = [
                local_score(own["patches"], side["tokens"], side["present"], self.logit_scale) for side in (true, wrong)
            ]
            for weight, choices in ((self.settings.whole, whole), (self.settings.local, local)):
                told = focal_smoothed_loss(torch.stack(choices, dim=1), self.settings.focus, self.settings.smoothing)
                negative = negative + weight * told
        return self.total(contrastive_loss(self.logit_scale * scores), negative)


def local_score(
    patches: Float[Tensor, "pair patch dim"],
    tokens: Float[Tensor, "pair token dim"],
    present: Bool[Tensor, "pair token"],
    scale: float,
) -> Float[Tensor, "pair"]:
    """Log-sum-exp over a caption's tokens of the scaled cosine of each with the mean of the patches that it looks at.

    Patches are weighed by their cosine with the token, stretched to [0, 1] over the image; those below one over their
    number count nothing. The weights have no gradient (equations 4 to 6 of the paper).
    """
    cosines = (tokens @ patches.transpose(1, 2)).detach()
    low, high = cosines.amin(dim=-1, keepdim=True), cosines.amax(dim=-1, keepdim=True)
    weights = (cosines - low) / (high - low).clamp_min(1e-6)
    weights = torch.where(weights < 1 / patches.shape[1], 0.0, weights)
    seen = F.normalize(weights @ patches, dim=-1)
    return torch.logsumexp((scale * (seen * tokens).sum(dim=-1)).masked_fill(~present, -torch.inf), dim=1)


def focal_smoothed_loss(logits: Float[Tensor, "pair choice"], focus: float, smoothing: float) -> Float[Tensor, ""]:
    """Focal cross-entropy with smoothed labels, the first choice being the true one: mean of -Σ y (1 - p)^γ log p.

    `focus` is γ; without it and without smoothing this is the cross-entropy.
    """
    log_share = F.log_softmax(logits, dim=1)
    labels = torch.full_like(log_share, smoothing / logits.shape[1])
    labels[:, 0] += 1 - smoothing
    return -(labels * (1 - log_share.exp()) ** focus * log_share).sum(dim=1).mean()


def build(config: Config, backbone: "Backbone", seed: int) -> FscClip:
    """The method at its start, with LoRA's rank and the config's losses. Raises UserError as `lora`."""
    training, settings = config.training, config.baselines.fsc_clip
    return FscClip(backbone, training.lora_rank, training.negatives, settings, seed)
