"""Fitting the phrase units: the parser's structure as a soft target, images' prototypes as the other side."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.config import TextConfig
from vialign.contrastive import contrastive_loss
from vialign.disentangle import losses
from vialign.disentangle.geometry import relation_loss
from vialign.disentangle.structure import TokenDistributions, align_units
from vialign.disentangle.text import Reading, TextDisentangler
from vialign.disentangle.types import ATTRIBUTE, NONE, RELATION, Prototypes, TokenStructure
from vialign.errors import UserError
from vialign.progress import track
from vialign.random import generator, seed_torch

if TYPE_CHECKING:
    from vialign.features import TextFeatures

_READ = 1024
_SCALE = 1 / 0.07


def fit_text(
    text_features: "TextFeatures",
    units: pd.DataFrame,
    image_of_text: Int[Tensor, "text"],
    prototypes: Prototypes,
    config: TextConfig,
    seed: int,
    captions: Int[Tensor, "caption"] | None = None,
) -> tuple[TextDisentangler, pd.DataFrame]:
    """Fit the phrase units on the captions of a split.

    `units` (UNITS) is the parser's reading, the soft target of the main path; captions that it could not read do not
    count there. `image_of_text` gives each text's position in `prototypes`. `captions` are the positions of the true
    captions among the texts; all texts when not given (negatives must not be among them).

    The log has one row a step: `step`, `loss` and every unweighted term. Raises UserError when a caption has no token,
    ValueError when sizes disagree or there are fewer than two images.
    """
    if len(image_of_text) != len(text_features.ids):
        raise ValueError(f"images of {len(image_of_text)} texts, expected {len(text_features.ids)}")
    rng = generator(seed, "fit_text")
    positions = np.arange(len(image_of_text)) if captions is None else np.unique(captions.numpy())
    rows = np.sort(rng.choice(positions, min(config.texts, len(positions)), replace=False))
    data = _read(text_features, units, rows)
    seed_torch(seed, "fit_text")
    dimension = prototypes.features.shape[-1]
    text = TextDisentangler.from_config(config, dimension, data.states.shape[-1] - dimension)
    text.mean.copy_(_mean(data)[:dimension])
    scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
    sharpness = nn.Parameter(torch.tensor(math.log(_SCALE)))
    optimiser = torch.optim.Adam([*text.parameters(), scale, sharpness], lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    batches = _batches(rng, image_of_text[torch.from_numpy(rows)].numpy(), config.batch)
    mean = _mean(data)
    spread = _spread(data, mean, dimension)
    log = []
    for step in track(range(config.steps), "fit phrase units"):
        images, picked = next(batches)
        length = int(data.mask[picked].any(dim=0).nonzero().max()) + 1
        states, mask = data.states[picked, :length].float(), data.mask[picked, :length]
        structure = cut(data.structure.index(picked), length)
        reading = text.read(_disturb(states, mean, spread, config, rng), mask)
        terms = structure_losses(reading, mask, structure, config.label_smoothing)
        decided = text.decide(_detached(reading.distributions), mask, structure)
        phrases = text.phrases(reading, mask, decided)
        scores = losses.local_scores(prototypes.features[images], phrases.features, phrases.weight)
        terms["alignment"] = contrastive_loss(scale.exp().clamp_max(100.0) * scores)
        terms["relation"] = relation_loss(prototypes.index(images), phrases, sharpness.exp().clamp_max(100.0))
        weights = {"alignment": config.alignment, "relation": config.relation}
        loss = torch.stack([value * weights.get(name, 1.0) for name, value in terms.items()])
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        schedule.step()
        log.append({"step": step, "loss": loss.sum().item()} | {name: value.item() for name, value in terms.items()})
    return text.eval().requires_grad_(False), pd.DataFrame(log)


def structure_losses(
    reading: Reading, mask: Bool[Tensor, "batch token"], structure: TokenStructure, smoothing: float
) -> dict[str, Tensor]:
    """Cross-entropy of the main path against the parser's structure, over the captions that the parser could read.

    Kinds and beginnings over all real tokens, subjects over tokens of attributes and relations, objects over tokens of
    relations; beginnings only inside units. A term without a token is 0.
    """
    read = mask & (structure.kind != NONE).any(dim=1, keepdim=True)
    inside = read & (structure.kind != NONE)
    length = mask.shape[1]

    def pointer(logits: Tensor, target: Tensor, where: Tensor) -> Tensor:
        if not bool(where.any()):
            return logits.sum() * 0
        return F.cross_entropy(logits[where], torch.where(target < 0, length, target)[where])

    related = read & (structure.kind == RELATION)
    if not bool(inside.any()):
        nothing = reading.logits.kind.sum() * 0
        return {"kind": nothing, "begin": nothing, "subject": nothing, "object": nothing}
    begin = structure.begin.float() * (1 - smoothing) + smoothing / 2
    return {
        "kind": F.cross_entropy(reading.logits.kind[read], structure.kind[read], label_smoothing=smoothing),
        "begin": F.binary_cross_entropy_with_logits(reading.logits.begin[inside], begin[inside]),
        "subject": pointer(reading.logits.subject, structure.subject, related | (read & (structure.kind == ATTRIBUTE))),
        "object": pointer(reading.logits.object, structure.object, related),
    }


def cut(structure: TokenStructure, length: int) -> TokenStructure:
    """The first tokens of every caption; arguments behind the cut become none."""
    return TokenStructure(
        structure.kind[:, :length],
        structure.begin[:, :length],
        torch.where(structure.subject >= length, -1, structure.subject)[:, :length],
        torch.where(structure.object >= length, -1, structure.object)[:, :length],
    )


@dataclass(frozen=True)
class _Data:
    """The sampled captions, in memory."""

    states: Float[Tensor, "text token dim"]
    """float16, the precision of the store."""
    mask: Bool[Tensor, "text token"]
    structure: TokenStructure


def _read(features: "TextFeatures", units: pd.DataFrame, rows: np.ndarray) -> _Data:
    blocks = []
    for start in track(range(0, len(features.ids), _READ), "read token states"):
        inside = torch.from_numpy(rows[(rows >= start) & (rows < start + _READ)] - start)
        if len(inside):
            states, mask, offsets = features.block(start, min(start + _READ, len(features.ids)))
            blocks.append((states[inside].half(), mask[inside], offsets[inside]))
    longest = max(mask.shape[1] for _, mask, _ in blocks)
    states = torch.cat([F.pad(block, (0, 0, 0, longest - block.shape[1])) for block, _, _ in blocks])
    mask = torch.cat([F.pad(block, (0, longest - block.shape[1])) for _, block, _ in blocks])
    offsets = torch.cat([F.pad(block, (0, 0, 0, longest - block.shape[1])) for _, _, block in blocks])
    ids = [features.ids[row] for row in rows]
    require_tokens(mask, ids)
    return _Data(states, mask, align_units(units, ids, offsets, mask))


def require_tokens(mask: Bool[Tensor, "text token"], text_ids: list[str]) -> None:
    """Raise UserError when a text has no token to make a unit of."""
    empty = (~mask.any(dim=1)).nonzero()
    if len(empty):
        raise UserError(f"text {text_ids[int(empty[0])]}: has no words; remove it from the captions or give it a text")


def _mean(data: _Data) -> Float[Tensor, "dim"]:
    return (data.states.float() * data.mask[..., None]).sum(dim=(0, 1)) / data.mask.sum()


def _batches(rng: np.random.Generator, image: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of distinct images (positions among the prototypes) and one caption row of each."""
    order = np.argsort(image, kind="stable")
    images, first, count = np.unique(image[order], return_index=True, return_counts=True)
    if len(images) < 2:
        raise ValueError("phrases are fitted by telling images apart: at least two images are needed")
    while True:
        choice = rng.choice(len(images), min(size, len(images)), replace=False)
        caption = order[first[choice] + rng.integers(count[choice])]
        yield torch.from_numpy(images[choice]), torch.from_numpy(caption)


def _spread(data: _Data, mean: Tensor, dimension: int) -> Float[Tensor, "dim"]:
    """Standard deviation of the joint part of the states and of the words, each over all its numbers."""
    squares = ((data.states.float() - mean).square() * data.mask[..., None]).sum(dim=(0, 1)) / data.mask.sum()
    parts = squares.split([dimension, len(squares) - dimension])
    return torch.cat([part.mean().sqrt().expand_as(part) for part in parts if len(part)])


def _disturb(states: Tensor, mean: Tensor, spread: Tensor, config: TextConfig, rng: np.random.Generator) -> Tensor:
    """Noise on every state, and some states replaced by the mean: the reader must not lean on single tokens."""
    noise = torch.from_numpy(rng.standard_normal(states.shape, dtype=np.float32)) * spread * config.noise
    kept = torch.from_numpy(rng.random(states.shape[:2]) >= config.token_dropout)
    return torch.where(kept[..., None], states + noise, mean)


def _detached(distributions: TokenDistributions) -> TokenDistributions:
    return TokenDistributions(
        distributions.kind.detach(),
        distributions.begin.detach(),
        distributions.subject.detach(),
        distributions.object.detach(),
    )
