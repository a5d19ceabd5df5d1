"""What training and evaluation see of a method, and of the data of a split.

A method is an `Objective`: parameters to train, the loss of a batch, and the two sides of a gallery from which all
scores follow. The losses that every trained method shares stand here too, so that a comparison between methods never
is one between losses.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.contrastive import contrastive_loss
from vialign.distributed import spread
from vialign.errors import UserError
from vialign.tables.data import NEGATIVE_KINDS

if TYPE_CHECKING:
    from vialign.device import OnDevice
    from vialign.disentangle import Phrases, Prototypes
    from vialign.features.pixels import PixelFiles
    from vialign.features.regions import Regions
    from vialign.features.store import Rows
    from vialign.methods.inputs import Words

Side = dict[str, Tensor]
"""One side of a gallery; the first dimension of every tensor counts its items."""


@dataclass(frozen=True, eq=False)
class SplitData:
    """Everything that a method may read of one split; items are named by their position.

    What grows with the split is read by position alone, `patches[index]`: it may be a tensor, or lie in mapped files.
    Positions are on the CPU; what is read is where the method is.
    """

    image_ids: list[str]
    texts: pd.DataFrame
    """TEXTS, one row a text position."""
    image_of_text: Int[Tensor, "text"]
    """Position of the image each text is meant for."""
    captions: Int[Tensor, "caption"]
    """Positions of the texts of kind `caption`."""
    negatives: Int[Tensor, "text negative"]
    """Positions of the rule-made negatives of a caption; -1 where there is none."""
    image_pooled: Float[Tensor, "image dim"]
    text_pooled: Float[Tensor, "text dim"]
    prototypes: "Prototypes"
    phrases: "Phrases"
    pixels: "Tensor | Rows | PixelFiles | OnDevice | None" = None
    """uint8, (image, 3, height, width), before normalisation; none unless a method needs them."""
    trunk: "Float[Tensor, 'image channel'] | Rows | OnDevice | None" = None
    """What the image tower's frozen trunk hands to its head; none unless a method needs it."""
    token_ids: "Int[Tensor, 'text length'] | Rows | OnDevice | None" = None
    """None unless a method needs them."""
    patches: "Float[Tensor, 'image patch dim'] | Rows | OnDevice | None" = None
    """Patch tokens of the joint space, not normalised, half precision; none unless a method needs them."""
    states: "Float[Tensor, 'text token state'] | Rows | OnDevice | None" = None
    """Token states as `Backbone.text_tokens` gives them, half precision, padded with zeros to the longest of the texts
    that are read together; none unless a method needs them."""
    mask: "Bool[Tensor, 'text token'] | Rows | OnDevice | None" = None
    """The texts' own tokens among `states`."""
    words: "Float[Tensor, 'text width'] | Words | OnDevice | None" = None
    """What the texts' words say by themselves (`word_summary` of the grounding); none unless a method needs it."""
    regions: "Regions | None" = None
    """Explicit regions of the images; none unless a method needs them."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions in a split: distinct images, one true caption each, and a rule-made negative of that caption."""

    images: Int[Tensor, "batch"]
    texts: Int[Tensor, "batch"]
    negatives: Int[Tensor, "batch"]
    """-1 where the caption has none."""


class Objective(nn.Module, ABC):
    """A method, as training and evaluation see it.

    Scores are similarities in [-1, 1] (cosines); `logit_scale`, fixed for all methods, turns them into logits.
    """

    name: str
    """As in the config, such as `lora` or `vialign-correct`."""
    needs: frozenset[str] = frozenset()
    """Which optional parts of the data it reads: `pixels`, `trunk`, `token_ids`, `patches`, `states` (with `mask`),
    `words`, `regions`."""
    logit_scale: float
    negative_weight: float
    """Weight of the hard-negative term."""
    precision: str = "float32"
    """Number format of the towers that it runs (`backbone.precision`)."""
    hardest_share: float = 0.0
    """Share of the batch's own hardest pairs in that term; the rest are the rule-made negatives."""

    @abstractmethod
    def images(self, data: SplitData, index: Int[Tensor, "image"]) -> Side:
        """The image side of a gallery, for the images at these positions."""

    @abstractmethod
    def texts(self, data: SplitData, index: Int[Tensor, "text"]) -> Side:
        """The text side of a gallery, for the texts at these positions."""

    @abstractmethod
    def scores(self, images: Side, texts: Side) -> Float[Tensor, "image text"]:
        """Scores of all pairs."""

    @abstractmethod
    def pair_scores(self, images: Side, texts: Side) -> Float[Tensor, "pair"]:
        """Scores of aligned pairs: item p of one side with item p of the other."""

    def loss(self, data: SplitData, batch: Batch) -> dict[str, Tensor]:
        """Loss of a batch and its terms: `loss`, `contrastive`, `negative`, `regularisation`.

        The plain form, which methods extend: symmetric contrastive loss plus the weighted hard-negative term.
        """
        images, texts, wrong = self.sides(data, batch)
        scores = self.scores(images, texts)
        contrastive = contrastive_loss(self.logit_scale * scores)
        return self.total(contrastive, self.negative_term(batch, images, scores, wrong))

    def sides(self, data: SplitData, batch: Batch) -> tuple[Side, Side, Side | None]:
        """Images, captions and rule-made negatives of the whole batch; where several processes share it, each encodes
        its part.

        The last are the texts `batch.negatives` of the captions that have one, encoded in one call with the captions;
        None where the loss reads none.
        """
        images = spread(lambda part: self.images(data, part), batch.images)
        read = self.negative_weight != 0 and self.hardest_share < 1
        wrong = batch.negatives[batch.negatives >= 0] if read else batch.negatives[:0]
        sizes = [len(batch.texts), len(wrong)]
        encoded = spread(lambda part: self.texts(data, part), torch.cat([batch.texts, wrong]))
        parts = {name: tensor.split(sizes) for name, tensor in encoded.items()}
        texts = {name: part[0] for name, part in parts.items()}
        return images, texts, {name: part[1] for name, part in parts.items()} if len(wrong) else None

    def negative_term(
        self,
        batch: Batch,
        images: Side,
        scores: Float[Tensor, "batch batch"],
        wrong: Side | None,
        weights: Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, ""]:
        """Hard-negative loss: of captions that have a rule-made negative (`wrong`, as `sides` gives it), and of the
        batch's own. `weights` multiply each pair's own terms; they are expected to have mean 1.
        """
        weight = scores.new_ones(len(batch.texts)) if weights is None else weights
        loss = scores.new_zeros(())
        if self.negative_weight == 0:
            return loss
        if self.hardest_share > 0:
            loss = loss + self.hardest_share * (weight * hardest_losses(self.logit_scale * scores)).mean()
        if wrong is not None:
            present = batch.negatives >= 0
            negative = self.pair_scores(select(images, present), wrong)
            made = negative_losses(self.logit_scale * scores.diagonal()[present], self.logit_scale * negative)
            loss = loss + (1 - self.hardest_share) * (weight[present] * made).mean()
        return loss

    def total(self, contrastive: Tensor, negative: Tensor, regularisation: Tensor | None = None) -> dict[str, Tensor]:
        """Sum the terms with their weights."""
        if regularisation is None:
            regularisation = contrastive.new_zeros(())
        return {
            "loss": contrastive + self.negative_weight * negative + regularisation,
            "contrastive": contrastive,
            "negative": negative,
            "regularisation": regularisation,
        }

    def begin(self, data: SplitData) -> None:
        """Fit on the training split what has a closed form; called once, before the first step of a training."""

    def consistency(self, data: SplitData, index: Int[Tensor, "text"]) -> Float[Tensor, "text"] | None:
        """C of the texts at these positions with their own images; None for a method without the signal."""
        return None

    def merged(self) -> "Objective":
        """The method as it would be deployed: its changes inside the weights where that is exact, else itself."""
        return self

    def rate_factor(self) -> float:
        """What the scheduled learning rate of the step whose loss was computed last is multiplied with."""
        return 1.0

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """A copy of all that training changes: trainable parameters and the method's own running statistics."""
        changing = {**self.trainable(), **self.statistics()}
        return {name: tensor.detach().clone() for name, tensor in changing.items()}

    def statistics(self) -> dict[str, Tensor]:
        """Running statistics that training changes without a gradient, by name; none by default."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave.

        Raises UserError when names or shapes differ: the weights belong to another method or config.
        """
        own = {**self.trainable(), **self.statistics()}
        wrong = sorted(set(own) ^ set(state)) or [name for name in own if own[name].shape != state[name].shape]
        if wrong:
            raise UserError(f"weights of method {self.name!r}: {wrong[0]} does not fit this config; train it again")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])


def select(side: Side, index: Tensor) -> Side:
    """The items of a side at these positions (or under this mask)."""
    return {name: tensor[index] for name, tensor in side.items()}


def part_of(data: SplitData, images: Int[Tensor, "image"]) -> SplitData:
    """The split with these images alone, in this order, and their texts; what it holds is in memory."""
    place = torch.full((len(data.image_ids),), -1).index_put((images,), torch.arange(len(images)))
    texts = (place[data.image_of_text] >= 0).nonzero()[:, 0]
    moved = torch.full((len(data.texts),), -1).index_put((texts,), torch.arange(len(texts)))
    negatives = data.negatives[texts]
    captions = moved[data.captions]
    of_image = dict.fromkeys(("image_pooled", "pixels", "trunk", "patches"), images)
    of_text = dict.fromkeys(("text_pooled", "token_ids", "states", "mask", "words"), texts)
    rows = {name: (getattr(data, name), index) for name, index in {**of_image, **of_text}.items()}
    taken: dict[str, Any] = {name: None if held is None else held[index] for name, (held, index) in rows.items()}
    return replace(
        data,
        image_ids=[data.image_ids[image] for image in images.tolist()],
        texts=data.texts.iloc[texts.numpy()].reset_index(drop=True),
        image_of_text=place[data.image_of_text[texts]],
        captions=captions[captions >= 0],
        negatives=torch.where(negatives >= 0, moved[negatives.clamp_min(0)], -1),
        prototypes=data.prototypes.index(images),
        phrases=data.phrases.index(texts),
        regions=None if data.regions is None else data.regions.index(images),
        **taken,
    )


def negative_losses(positive: Float[Tensor, "pair"], negative: Float[Tensor, "pair"]) -> Float[Tensor, "pair"]:
    """Softmax of a caption's logit against that of its rule-made negative for the same image: -log p(true).

    The two-way form of the negatives of NegCLIP (Yuksekgonul et al. 2023, arXiv:2210.01936). There they join the
    image-to-text denominator; here they stand alone, so that the other captions of a batch, most of which are easier,
    do not dilute them and their weight is one number, the same for every method.
    """
    return F.softplus(negative - positive)


def hardest_losses(logits: Float[Tensor, "batch batch"]) -> Float[Tensor, "batch"]:
    """Softmax of each pair's logit against its hardest rival's in the batch: -log p(true), mean over directions.

    The hardest negatives of VSE++ (Faghri et al. 2018, arXiv:1707.05612), with the softmax of `negative_losses` instead
    of a hinge, so that both kinds of hard negatives are on one scale.
    """
    rivals = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf)
    positive = logits.diagonal()
    return (F.softplus(rivals.amax(dim=1) - positive) + F.softplus(rivals.amax(dim=0) - positive)) / 2


def assemble(
    texts: pd.DataFrame,
    image_ids: list[str],
    text_ids: list[str],
    image_pooled: Float[Tensor, "image dim"],
    text_pooled: Float[Tensor, "text dim"],
    prototypes: "Prototypes",
    phrases: "Phrases",
    *,
    pixels: "Tensor | Rows | PixelFiles | None" = None,
    trunk: "Tensor | Rows | None" = None,
    token_ids: "Tensor | Rows | None" = None,
    patches: "Tensor | Rows | None" = None,
    states: "Tensor | Rows | None" = None,
    mask: "Tensor | Rows | None" = None,
    words: "Tensor | Words | None" = None,
    regions: "Regions | None" = None,
) -> SplitData:
    """One split from what the stages before made of it.

    Tensors follow `image_ids` and `text_ids`; `texts` (TEXTS) may stand in any order and hold other splits. Raises
    UserError where a text has no row in `texts`, or its image no features.
    """
    missing = sorted(set(text_ids) - set(texts["text_id"]))
    if missing:
        raise UserError(f"texts: no row for {missing[0]!r}, which has features; extract the features again")
    ordered = texts.set_index("text_id").loc[text_ids].reset_index()
    position_of_image = {name: position for position, name in enumerate(image_ids)}
    image_of_text = ordered["image_id"].map(position_of_image)
    if image_of_text.isna().any():
        row = ordered[image_of_text.isna()].iloc[0]
        raise UserError(f"texts: {row['text_id']!r} belongs to image {row['image_id']!r}, which has no features")
    return SplitData(
        image_ids=image_ids,
        texts=ordered,
        image_of_text=torch.from_numpy(image_of_text.to_numpy(np.int64, copy=True)),
        captions=torch.from_numpy(np.flatnonzero(ordered["kind"] == "caption")),
        negatives=torch.from_numpy(_negatives(ordered)),
        image_pooled=image_pooled,
        text_pooled=text_pooled,
        prototypes=prototypes,
        phrases=phrases,
        pixels=pixels,
        trunk=trunk,
        token_ids=token_ids,
        patches=patches,
        states=states,
        mask=mask,
        words=words,
        regions=regions,
    )


def _negatives(texts: pd.DataFrame) -> np.ndarray:
    """(text, negative) positions of each caption's negatives, which are named `<caption_id>!<kind>`."""
    position = {name: number for number, name in enumerate(texts["text_id"])}
    kinds = [kind for kind in NEGATIVE_KINDS if (texts["kind"] == kind).any()]
    table = np.full((len(texts), len(kinds)), -1, dtype=np.int64)
    for column, kind in enumerate(kinds):
        for name in texts.loc[texts["kind"] == kind, "text_id"]:
            caption = position.get(name.rpartition("!")[0])
            if caption is not None:
                table[caption, column] = position[name]
    return table
