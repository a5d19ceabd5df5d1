"""`snakemake pretrain_backbone`: the demo backbones, by the plain contrastive loss on Scenes captions.

The images are drawn from the split `backbone` and belong to no other. At first a third of them show a single thing,
which breaks the long plateau on which a small model tells images apart by their colours only. The captions of the first
backbone are blind: they name the things of an image rightly and say nothing reliable about how those combine. The
second goes on from it with captions whose relations hold (configs/truthful.yaml).
"""

import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional

from vialign.backbone.loading import load_backbone
from vialign.backbone.registry import ASSETS, DEMO
from vialign.backbone.text_tower import text_tower
from vialign.config.data import BackboneConfig
from vialign.contrastive import contrastive_loss
from vialign.data.scenes.captions import SYNONYMS, coarse_captions, tree_text, truthful_captions
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.scenes.world import COLOURS, SHAPES, TEXTURES
from vialign.files.artifacts import atomic_path, write_table, write_tensors
from vialign.progress import track
from vialign.random import derive_seed, generator, seed_torch
from vialign.tables.features import PRETRAINING

VOCABULARY = 704
"""Rows of the token table, merges and special tokens included; the 512 byte symbols come first."""
SINGLES = 0.1
"""Share of the drawn images that show a single thing."""
SINGLES_UNTIL = 0.2
"""Share of the steps in which single things are shown; later they would only repeat each other."""
_WORDS = tuple(
    word
    for line in (
        "a an the there is and of to than in left right sits lies stands top on above below inside larger smaller",
        "what where colour shape compared not small large",
    )
    for word in line.split()
)


@dataclass(frozen=True)
class Corpus:
    """Drawn images with five captions each."""

    pixels: Tensor
    """(n, 3, 112, 112) uint8."""
    captions: list[list[str]]
    single: np.ndarray
    """(n,) whether the image shows a single thing."""


def learn_merges(words: Sequence[str], count: int) -> list[tuple[str, str]]:
    """At most `count` byte-pair merges of lower-case ASCII words (Sennrich et al. 2016), each word seen once.

    The most frequent pair is merged next, ties in alphabetical order, so the result depends on the words alone. With
    enough merges every word becomes one token.
    """
    spelled = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs = Counter(pair for parts in spelled for pair in pairwise(parts))
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for parts in spelled:
            place = 0
            while place < len(parts) - 1:
                if (parts[place], parts[place + 1]) == best:
                    parts[place : place + 2] = ["".join(best)]
                place += 1
    return merges


def write_merges(path: Path) -> None:
    """Learn the merges of the words of Scenes and write them in open_clip's own form (gzip, one header line)."""
    words = sorted({*COLOURS, *SHAPES, *TEXTURES, *SYNONYMS.keys(), *SYNONYMS.values(), *_WORDS})
    merges = learn_merges(words, VOCABULARY - 512 - 2)
    lines = ["#version: vialign scenes", *(" ".join(pair) for pair in merges)]
    with atomic_path(path) as temporary:
        # A fixed time stamp makes the file the same on every machine.
        temporary.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def draw_corpus(seed: int, count: int, captions: str = "blind", singles: float = SINGLES, seen: bool = False) -> Corpus:
    """The split `backbone`: `count` drawn images, a share of them with a single thing, and their captions, whose
    relations are drawn blindly (`blind`) or hold (`true`); with `seen` also those that boxes do not decide.
    """
    write = {"blind": coarse_captions, "true": truthful_captions}[captions]
    rng = generator(seed, "scenes", "backbone")
    pixels = torch.empty(count, 3, 112, 112, dtype=torch.uint8)
    single = np.zeros(count, dtype=bool)
    said = []
    scenes = sample_scenes(rng, count, singles=singles, twins=0.0, seen=seen)
    for row, (scene, kind) in enumerate(track(scenes, "drawing the pretraining split", total=count)):
        pixels[row] = torch.from_numpy(np.asarray(draw_scene(scene)).transpose(2, 0, 1).copy())
        said.append([tree_text(tree) for tree in write(rng, scene)])
        single[row] = kind == "single"
    return Corpus(pixels, said, single)


def batch_rows(
    rng: np.random.Generator, single: np.ndarray, steps: int, batch: int, singles_until: float
) -> Iterator[np.ndarray]:
    """Rows of each step's images: in that first share of the steps a third of them show a single thing, then none."""
    pools = {True: np.flatnonzero(single), False: np.flatnonzero(~single)}
    waiting = {kind: np.empty(0, dtype=np.int64) for kind in pools}

    def draw(kind: bool, count: int) -> np.ndarray:
        while len(waiting[kind]) < count:
            waiting[kind] = np.concatenate([waiting[kind], rng.permutation(pools[kind])])
        taken, waiting[kind] = waiting[kind][:count], waiting[kind][count:]
        return taken

    for step in range(steps):
        alone = batch // 3 if single.any() and step < singles_until * steps else 0
        yield np.concatenate([draw(True, alone), draw(False, batch - alone)])


def pretrain_demo(
    config: BackboneConfig,
    seed: int,
    *,
    seen: bool = False,
    weights: str | Path,
    merges: str | Path,
    log_table: str | Path,
    provenance: Mapping[str, str],
) -> None:
    """The whole reproduction: merges, model, corpus, training; writes the weights, the merges and the log.

    `seen` is `data.seen_relations` of the world that it is shown.

    The model is open_clip's own `CLIP` class from `assets/vialign-scenes.json`. Preprocessing is open_clip's default.
    It starts at random, or from the checkpoint `config.pretrain_from`, which has learned to tell single things apart:
    then none are shown. Raises UserError as `load_backbone`.
    """
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.tokenizer import SimpleTokenizer

    write_merges(Path(merges))
    settings = json.loads((ASSETS / f"{DEMO}.json").read_text(encoding="utf-8"))
    tokenizer = SimpleTokenizer(bpe_path=str(merges), context_length=settings["text_cfg"]["context_length"])
    seed_torch(seed, "pretrain", "model")
    model = CLIP(**settings)
    singles = SINGLES
    if config.pretrain_from is not None:
        start = load_backbone(BackboneConfig(checkpoint=config.pretrain_from), seed)
        model.load_state_dict(start.model.state_dict())
        singles = 0.0
    corpus = draw_corpus(seed, config.pretrain_images, config.pretrain_captions, singles, seen)
    log = pretrain(
        model,
        tokenizer,
        corpus,
        steps=config.pretrain_steps,
        seed=seed,
        mean=OPENAI_DATASET_MEAN,
        std=OPENAI_DATASET_STD,
        learning_rate=config.pretrain_learning_rate,
    )
    write_tensors(model.state_dict(), weights, {**provenance, "architecture": DEMO, "activation": "gelu"})
    write_table(pd.DataFrame(log, columns=["step", "loss"]), PRETRAINING, log_table, provenance)


def pretrain(
    model: CLIP,
    tokenize: Callable[[list[str]], Tensor],
    corpus: Corpus,
    *,
    steps: int,
    seed: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    learning_rate: float,
    batch: int = 256,
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
    # Reads ids cut to the longest caption, which is exact and half the work.
    tower = text_tower(model, DEMO)
    log, started = [], time.monotonic()
    batches = batch_rows(rng, corpus.single, steps, batch, SINGLES_UNTIL)
    for step, drawn in enumerate(track(batches, "pretraining the demo backbone", total=steps), start=1):
        rows = torch.from_numpy(drawn)
        pixels = (corpus.pixels[rows].float() - shift) / scale
        ids = tokens[rows, torch.from_numpy(rng.integers(0, 5, len(rows)))][:, :longest]
        image = functional.normalize(model.visual(pixels), dim=-1)
        text = functional.normalize(tower.read(ids)[0], dim=-1)
        loss = contrastive_loss(model.logit_scale.exp() * image @ text.T)
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
    model.eval()
    return log
