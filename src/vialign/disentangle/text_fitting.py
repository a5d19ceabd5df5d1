"""Fitting the phrase units: the parser's structure as a soft target, images' prototypes as the other side."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vialign.config.disentangle import TextConfig, fixed
from vialign.contrastive import contrastive_loss
from vialign.device import CPU, to_device
from vialign.disentangle import losses
from vialign.disentangle.caption_data import CaptionData, TypedCaptions, cut, read_captions
from vialign.disentangle.gate import GateEvidence, fit_gate, gate_evidence
from vialign.disentangle.geometry import relation_loss
from vialign.disentangle.readings import Readings
from vialign.disentangle.sizing import sized_text
from vialign.disentangle.structure import TokenDistributions
from vialign.disentangle.text import Reading, TextDisentangler
from vialign.disentangle.types import ATTRIBUTE, NONE, RELATION, Prototypes, TokenStructure
from vialign.progress import track
from vialign.random import generator, seed_torch

if TYPE_CHECKING:
    from vialign.features import TextFeatures

BLANKED = 0.3
"""Share of tokens hidden from the main path, in the half of the gate's evidence where it is to doubt itself."""
_SCALE = 1 / 0.07


def fit_text(
    text_features: "TextFeatures",
    units: pd.DataFrame,
    image_of_text: Int[Tensor, "text"],
    prototypes: Prototypes,
    config: TextConfig,
    seed: int,
    captions: Int[Tensor, "caption"] | None = None,
    typed: TypedCaptions | None = None,
    device: torch.device = CPU,
) -> tuple[TextDisentangler, pd.DataFrame]:
    """Fit the phrase units on the captions of a split, then the gate.

    `units` (UNITS) is the parser's reading, the soft target of the main path; captions that it could not read do not
    count there. `image_of_text` gives each text's position in `prototypes`. `captions` are the positions of the true
    captions among the texts; all texts when not given (negatives must not be among them). Without `typed` the gate
    stays as `config.confidence` makes it. The steps are taken on `device`; the disentangler starts and ends on the CPU.

    The log has one row a step: `step`, `loss` and every unweighted term. Raises UserError when a caption has no token,
    ValueError when sizes disagree or there are fewer than two images.
    """
    if len(image_of_text) != len(text_features.ids):
        raise ValueError(f"images of {len(image_of_text)} texts, expected {len(text_features.ids)}")
    rng = generator(seed, "fit_text")
    positions = np.arange(len(image_of_text)) if captions is None else np.unique(captions.numpy())
    if typed is not None:
        positions = np.setdiff1d(positions, typed.gate_rows.numpy())
    rows = np.sort(rng.choice(positions, min(config.texts, len(positions)), replace=False))
    config = sized_text(config, len(rows))
    data = read_captions(text_features, units, rows)
    picked = np.arange(len(rows))
    if typed is not None:
        data = data.joined(typed.captions)
        picked = with_share(len(rows), len(typed.rows), config.typed_share)
        rows = np.concatenate([rows, typed.rows.numpy()])
    text = unfitted(data, config, prototypes.features.shape[-1], seed).to(device)
    prototypes = prototypes.to(device)
    scale = nn.Parameter(torch.tensor(math.log(_SCALE), device=device))
    sharpness = nn.Parameter(torch.tensor(math.log(_SCALE), device=device))

    def paired(images: Tensor, reading: Reading, mask: Tensor, structure: TokenStructure) -> dict[str, Tensor]:
        decided = text.decide(_detached(reading.distributions), mask, structure)
        phrases = text.phrases(reading, mask, decided)
        scores = losses.local_scores(prototypes.features[images], phrases.features, phrases.weight)
        return {
            "alignment": contrastive_loss(scale.exp().clamp_max(100.0) * scores),
            "relation": relation_loss(prototypes.index(images), phrases, sharpness.exp().clamp_max(100.0)),
        }

    batches = _batches(rng, image_of_text[torch.from_numpy(rows)].numpy(), config.batch, picked)
    log = _optimise(text, data, batches, paired, [scale, sharpness], config, rng)
    text = text.to(CPU)
    if typed is not None:
        set_gate(text, typed.gate, seed)
    return text.eval().requires_grad_(False), log


def fit_reader(
    data: CaptionData, typed: CaptionData, gate: Readings, config: TextConfig, dimension: int, seed: int
) -> tuple[TextDisentangler, pd.DataFrame]:
    """Fit the main path alone, on texts without images, clean ones and `typed` ones, then the gate on other texts.

    `dimension` is that of the joint space. The log is that of `fit_text` without the terms that need images.
    """
    rng = generator(seed, "fit_reader")
    config = sized_text(config, len(data.mask))
    picked = with_share(len(data.mask), len(typed.mask), config.typed_share)
    data = data.joined(typed)
    text = unfitted(data, config, dimension, seed)
    batches = _batches(rng, np.arange(len(data.mask)), config.batch, picked)
    log = _optimise(text, data, batches, lambda *_: {}, [], config, rng)
    set_gate(text, gate, seed)
    return text.eval().requires_grad_(False), log


def unfitted(data: CaptionData, config: TextConfig, dimension: int, seed: int) -> TextDisentangler:
    """A disentangler at its random start that knows the mean of the token states."""
    seed_torch(seed, "fit_text")
    text = TextDisentangler.from_config(config, dimension, data.states.shape[-1] - dimension)
    text.mean.copy_(_mean(data.states, data.mask)[:dimension])
    return text


def _optimise(
    text: TextDisentangler,
    data: CaptionData,
    batches: Iterator[tuple[Tensor, Tensor]],
    paired: Callable[[Tensor, Reading, Tensor, TokenStructure], dict[str, Tensor]],
    further: list[nn.Parameter],
    config: TextConfig,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Adam on the structure's terms and on those that `paired` adds; `further` are parameters of the losses alone.

    The captions stay where they are; what a step reads of them comes to where the disentangler is.
    """
    device = text.mean.device
    fitted = [parameter for parameter in text.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam([*fitted, *further], lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, fixed(config.steps))
    mean = _mean(data.states, data.mask)
    spread = _spread(data, mean, text.dimension)
    log = []
    for step in track(range(fixed(config.steps)), "fit phrase units"):
        images, picked = next(batches)
        length = int(data.mask[picked].any(dim=0).nonzero().max()) + 1
        states = _disturb(data.states[picked, :length].float(), mean, spread, config, rng)
        mask = to_device(data.mask[picked, :length], device)
        structure = cut(data.structure.taken(picked), length).to(device)
        reading = text.read(to_device(states, device), mask)
        terms = structure_losses(reading, mask, structure, config.label_smoothing)
        terms |= paired(images, reading, mask, structure)
        loss = torch.stack([value * float(getattr(config, name)) for name, value in terms.items()])
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        schedule.step()
        log.append({"step": step, "loss": loss.sum().item()} | {name: value.item() for name, value in terms.items()})
    return pd.DataFrame(log)


@torch.no_grad()
def set_gate(text: TextDisentangler, readings: Readings, seed: int) -> None:
    """Fit the gate on texts that the main path has not seen, each also with a share of its tokens blanked.

    Typos blind the parser, blanked tokens the main path: so the gate learns from its own domain when to trust which.
    """
    rng = generator(seed, "gate")
    states, mask = readings.tokens.states.float(), readings.tokens.mask
    blank = _mean(readings.tokens.states, mask)
    kept = torch.from_numpy(rng.random(mask.shape) >= BLANKED)
    evidence = [
        gate_evidence(text.read(seen, mask).distributions, readings.parsed, text.smoothing, readings.truth, mask)
        for seen in (states, torch.where(kept[..., None], states, blank))
    ]
    columns = (torch.cat([getattr(part, name) for part in evidence]) for name in ("features", "main", "fallback"))
    text.gate.copy_(fit_gate(GateEvidence(*columns)))


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


def _mean(states: Float[Tensor, "text token dim"], mask: Bool[Tensor, "text token"]) -> Float[Tensor, "dim"]:
    return (states.float() * mask[..., None]).sum(dim=(0, 1)) / mask.sum()


def with_share(clean: int, typed: int, share: float) -> Int[np.ndarray, "caption"]:
    """Rows of clean captions, then of typed ones, each of those so often that they make up about `share` of all."""
    repeats = 0 if share == 0 or typed == 0 else max(1, round(min(share / (1 - share + 1e-9) * clean / typed, clean)))
    return np.concatenate([np.arange(clean), np.tile(np.arange(clean, clean + typed), repeats)])


def _batches(
    rng: np.random.Generator, image: np.ndarray, size: int, rows: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of distinct images (positions among the prototypes) and one caption row of each.

    `image` is that of every caption; `rows` are the captions to draw from, some of them several times.
    """
    order = rows[np.argsort(image[rows], kind="stable")]
    images, first, count = np.unique(image[order], return_index=True, return_counts=True)
    if len(images) < 2:
        raise ValueError("phrases are fitted by telling images apart: at least two images are needed")
    while True:
        choice = rng.choice(len(images), min(size, len(images)), replace=False)
        caption = order[first[choice] + rng.integers(count[choice])]
        yield torch.from_numpy(images[choice]), torch.from_numpy(caption)


def _spread(data: CaptionData, mean: Tensor, dimension: int) -> Float[Tensor, "dim"]:
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
