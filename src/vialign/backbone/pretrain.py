"""`snakemake pretrain_backbone`: the demo backbone from nothing, by the plain contrastive loss on Scenes captions.

The images are drawn from the split `backbone` and belong to no other. A third show a single thing, which breaks the
long plateau on which a small model tells images apart by their colours only. Nothing in the loss asks how concepts
combine: in-batch negatives rarely share all their concepts.
"""

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vialign.artifacts import atomic_path
from vialign.data.scenes.captions import SYNONYMS, scene_captions, tree_text
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.world import COLOURS, SHAPES, TEXTURES, sample_scenes
from vialign.progress import track
from vialign.random import derive_seed, generator, seed_torch

VOCABULARY = 704
"""Rows of the token table, merges and special tokens included; the 512 byte symbols come first."""
_WORDS = (
    "a an the there is and of to than in left right sits lies stands top on left above below inside larger smaller what"
    " where colour shape compared not"
).split()


@dataclass(frozen=True)
class Corpus:
    """Drawn images with five captions each."""

    pixels: Tensor
    """(n, 3, 112, 112) uint8."""
    captions: list[list[str]]


def write_merges(path: Path) -> None:
    """Learn byte-pair merges on the words of Scenes and write them in open_clip's own form (gzip, one header line)."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = sorted({*COLOURS, *SHAPES, *TEXTURES, *SYNONYMS.keys(), *SYNONYMS.values(), *_WORDS, "small", "large"})
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator([" ".join(words)], trainer)
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    lines = ["#version: vialign scenes", *(" ".join(pair) for pair in pairs)]
    with atomic_path(path) as temporary:
        # A fixed time stamp makes the file the same on every machine.
        temporary.write_bytes(gzip.compress("\n".join(lines[: VOCABULARY - 512 - 2 + 1]).encode(), mtime=0))


def draw_corpus(seed: int, count: int) -> Corpus:
    """The split `backbone`: `count` drawn images and their captions."""
    rng = generator(seed, "scenes", "backbone")
    pixels = torch.empty(count, 3, 112, 112, dtype=torch.uint8)
    captions = []
    scenes = sample_scenes(rng, count, singles=1 / 3, twins=0.0)
    for row, (scene, _) in enumerate(track(scenes, "drawing the pretraining split", total=count)):
        pixels[row] = torch.from_numpy(np.asarray(draw_scene(scene)).transpose(2, 0, 1).copy())
        captions.append([tree_text(tree) for tree in scene_captions(rng, scene)])
    return Corpus(pixels, captions)


def contrastive_loss(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE over the batch (Radford et al. 2021, figure 3); both sides (B, D) of unit length."""
    logits = logit_scale * image @ text.T
    target = torch.arange(len(image))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def encode_text_cut(model: torch.nn.Module, ids: Tensor) -> Tensor:
    """Text embeddings (B, D) from ids (B, L) with L up to the context length.

    The tower is causal and padding comes last, so positions after the longest caption never matter.
    """
    length = ids.shape[1]
    states = model.token_embedding(ids) + model.positional_embedding[:length]
    states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
    pooled = states[torch.arange(len(ids)), ids.argmax(dim=-1)]
    return pooled @ model.text_projection


def pretrain(
    model: torch.nn.Module,
    tokenize: Callable[[list[str]], Tensor],
    corpus: Corpus,
    *,
    steps: int,
    seed: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch: int = 256,
    learning_rate: float = 2e-3,
    on_check: Callable[[int, torch.nn.Module], None] | None = None,
    check_every: int = 500,
) -> list[tuple[int, float]]:
    """Train every parameter of `model` on `corpus` and return (step, loss) pairs.

    `tokenize` maps texts to (B, context) token ids. One caption of an image is drawn a time. AdamW, warm-up over
    4 % of the steps, then cosine to zero.
    """
    seed_torch(seed, "pretrain")
    rng = np.random.default_rng(derive_seed(seed, "pretrain", "order"))
    tokens = tokenize([caption for row in corpus.captions for caption in row]).view(len(corpus.captions), 5, -1)
    longest = int((tokens != 0).sum(-1).max())
    shift = torch.tensor(mean).view(1, 3, 1, 1) * 255
    scale = torch.tensor(std).view(1, 3, 1, 1) * 255
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=learning_rate,
        betas=(0.9, 0.98),
    )
    warmup = max(1, int(0.04 * steps))

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    model.train()
    order = rng.permutation(len(corpus.captions))
    place, log, started = 0, [], time.monotonic()
    for step in track(range(1, steps + 1), "pretraining the demo backbone", total=steps):
        if place + batch > len(order):
            order, place = rng.permutation(len(corpus.captions)), 0
        rows = torch.from_numpy(order[place : place + batch])
        place += batch
        pixels = (corpus.pixels[rows].float() - shift) / scale
        ids = tokens[rows, torch.from_numpy(rng.integers(0, 5, len(rows)))][:, :longest]
        image = functional.normalize(model.visual(pixels), dim=-1)
        text = functional.normalize(encode_text_cut(model, ids), dim=-1)
        loss = contrastive_loss(image, text, model.logit_scale.exp())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(100)))
        if step % 50 == 0 or step == 1:
            log.append((step, float(loss.detach())))
            print(f"step {step} loss {log[-1][1]:.3f} after {time.monotonic() - started:.0f} s", flush=True)
        if on_check is not None and step % check_every == 0:
            model.eval()
            on_check(step, model)
            model.train()
    model.eval()
    return log
