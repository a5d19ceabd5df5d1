"""The ledger's subjects: what a method does end to end, from pixels and text to a score, and in one training step.

Nothing is taken from a cache here. Each call runs the frozen towers, the disentanglers, the parser on the captions that
the main path does not trust itself with, and the method's own modules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from vialign.backbone import load_backbone
from vialign.budget.ledger import Subject, Work, measure_subject
from vialign.config import BackboneConfig, Config
from vialign.curriculum.method import MODULES, method_name
from vialign.disentangle import Phrases, Prototypes, TextDisentangler, VisualDisentangler, align_units
from vialign.features import load_pixels
from vialign.language.units import extract_units
from vialign.objective import Batch, Objective, SplitData
from vialign.signal.calibration import SignalCalibration
from vialign.tables import NEGATIVE_KINDS
from vialign.training.methods import build_method

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone

FROM_PIXELS = frozenset({"pixels", "trunk"})
"""Needs of a method that runs the image tower itself, which in the ledger counts from the pixels on."""


@dataclass(frozen=True)
class Bench:
    """What every method is measured on: a backbone with its disentanglers, and one batch of raw input."""

    name: str
    backbone: "Backbone"
    readout: str
    visual: VisualDisentangler
    text: TextDisentangler
    nlp: "Language"
    calibration: SignalCalibration
    pixels: Tensor
    """(batch, 3, height, width) uint8."""
    captions: Sequence[str]
    """One a row of `pixels`."""
    negatives: Sequence[str]
    """One a caption, for the training step."""
    parsed: int | None = None
    """Captions of the batch that go to the parser; none counts those that the main path does not trust."""


def measure_methods(bench: Bench, config: Config, methods: Sequence[str], *, batch: int, repeats: int) -> pd.DataFrame:
    """BUDGET rows of every method on one bench, beside the frozen backbone and the plain loop."""
    reference = _subject(bench, config, "frozen", plain="vialign-none")
    frames = [
        measure_subject(
            _subject(bench, config, method),
            reference,
            backbone=bench.name,
            batch=batch,
            repeats=repeats,
            limits=config.budget,
            seed=config.seed,
        )
        for method in methods
    ]
    return pd.concat(frames, ignore_index=True)


def _subject(bench: Bench, config: Config, name: str, plain: str | None = None) -> Subject:
    """One method; `plain` names the method whose step is the loop with every module removed."""
    method = build_method(name, config, bench.backbone, bench.calibration, config.seed)
    local = name.startswith("vialign")
    pixels_needed = not method.needs.isdisjoint(FROM_PIXELS)
    modules: tuple[nn.Module, ...] = (bench.backbone.model, method)
    if local:
        modules = (*modules, bench.visual, bench.text)
    if pixels_needed:
        modules = (method,)

    def image() -> object:
        return method.images(_images(bench, local, pixels_needed), torch.arange(len(bench.pixels)))

    def text() -> object:
        return method.texts(_texts(bench, bench.captions, local, pixels_needed), torch.arange(len(bench.captions)))

    def pair() -> Tensor:
        rows = torch.arange(len(bench.pixels))
        images = method.images(_images(bench, local, pixels_needed), rows)
        return method.pair_scores(images, method.texts(_texts(bench, bench.captions, local, pixels_needed), rows))

    trained = name if plain is None else plain
    return Subject(
        method=name,
        modules=modules,
        trainable=tuple(method.trainable().values()),
        image=image,
        text=text,
        pair=pair,
        step=None if trained == "frozen" else _step(bench, config, trained),
    )


def _step(bench: Bench, config: Config, name: str) -> Work:
    """One optimiser step of the training loop, from pixels and text."""
    method = build_method(name, config, bench.backbone, bench.calibration, config.seed).train()
    local, raw = name not in ("vialign-none", "lora"), not method.needs.isdisjoint(FROM_PIXELS)
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=1e-4)
    size = len(bench.pixels)
    batch = Batch(torch.arange(size), torch.arange(size), torch.arange(size) + size)

    def step() -> None:
        texts = _texts(bench, [*bench.captions, *bench.negatives], local, raw)
        images = _images(bench, local, raw)
        data = replace(texts, image_pooled=images.image_pooled, prototypes=images.prototypes, pixels=images.pixels)
        optimiser.zero_grad()
        _loss(method, data, batch).backward()
        optimiser.step()

    return step


def _loss(method: Objective, data: SplitData, batch: Batch) -> Tensor:
    return method.loss(data, batch)["loss"]


def _empty(count: int) -> dict[str, object]:
    """The parts of a split that no measured call reads."""
    return {
        "image_ids": [],
        "texts": pd.DataFrame(),
        "image_of_text": torch.arange(count),
        "captions": torch.arange(count),
        "negatives": torch.empty(count, 0, dtype=torch.long),
    }


_NO_PROTOTYPES = Prototypes(torch.empty(0, 1, 1), torch.empty(0, 1), None, torch.empty(0, 1, 5))
_NO_UNITS = torch.empty(0, 1, dtype=torch.long)
_NO_PHRASES = Phrases(torch.empty(0, 1, 1), torch.empty(0, 1), _NO_UNITS, _NO_UNITS, _NO_UNITS, None)


def _images(bench: Bench, local: bool, raw: bool) -> SplitData:
    """The image half of a split, made now from pixels: raw, pooled, or pooled with prototypes."""
    pooled, prototypes = torch.empty(0, bench.backbone.dimension), _NO_PROTOTYPES
    if not raw:
        with torch.no_grad():
            pixels = bench.backbone.normalise(bench.pixels)
            if local:
                pooled, patches = bench.backbone.image_tokens(pixels, bench.readout)
                prototypes = bench.visual(patches)
            else:
                pooled = bench.backbone.encode_image(pixels)
    return SplitData(
        **_empty(0),  # type: ignore[arg-type]
        image_pooled=pooled,
        text_pooled=torch.empty(0, bench.backbone.dimension),
        prototypes=prototypes,
        phrases=_NO_PHRASES,
        pixels=bench.pixels,
    )


def _texts(bench: Bench, captions: Sequence[str], local: bool, raw: bool) -> SplitData:
    """The text half of a split, made now from text: token ids, pooled, or pooled with phrases."""
    tokens = bench.backbone.tokenize(list(captions))
    pooled, phrases = torch.empty(0, bench.backbone.dimension), _NO_PHRASES
    if not raw:
        with torch.no_grad():
            if local:
                pooled, states = bench.backbone.text_tokens(tokens.ids)
                phrases = _phrases(bench, list(captions), states, tokens.mask, tokens.offsets)
            else:
                pooled = bench.backbone.encode_text(tokens.ids)
    return SplitData(
        **_empty(len(captions)),  # type: ignore[arg-type]
        image_pooled=torch.empty(0, bench.backbone.dimension),
        text_pooled=pooled,
        prototypes=_NO_PROTOTYPES,
        phrases=phrases,
        token_ids=tokens.ids,
    )


def _phrases(bench: Bench, captions: list[str], states: Tensor, mask: Tensor, offsets: Tensor) -> Phrases:
    """Phrase units as at inference: the parser reads only captions that the main path does not trust itself with."""
    reading = bench.text.read(states, mask)
    doubtful = (~bench.text.trusted(reading.distributions, mask)).nonzero().squeeze(1)
    if bench.parsed is not None:
        doubtful = torch.arange(min(bench.parsed * len(captions) // len(bench.captions), len(captions)))
    structure = None
    if len(doubtful):
        names = [str(row) for row in range(len(captions))]
        asked = pd.DataFrame({"text_id": [names[row] for row in doubtful], "text": [captions[row] for row in doubtful]})
        units, _ = extract_units(asked, bench.nlp)
        structure = align_units(units, names, offsets, mask)
    return bench.text.phrases(reading, mask, bench.text.decide(reading.distributions, mask, structure))


def measure_run(
    backbone: "Backbone",
    readout: str,
    visual: VisualDisentangler,
    text: TextDisentangler,
    nlp: "Language",
    calibration: SignalCalibration,
    images: pd.DataFrame,
    texts: pd.DataFrame,
    folders: Mapping[str, Path],
    config: Config,
) -> pd.DataFrame:
    """The ledger of a run: every trained method on its own backbone, and the full model at the reference size.

    At the reference size weights are random, since only sizes and times are measured there; the share of captions that
    goes to the parser is the one measured on the run's own captions.
    """
    law = config.budget
    captions = texts[texts["kind"] == "caption"].groupby("image_id", sort=False).head(1)
    wrong = texts[texts["kind"].isin(NEGATIVE_KINDS)]["text"].tolist() or captions["text"].tolist()

    def bench(name: str, tower: "Backbone", size: int, **parts: Any) -> Bench:
        rows = captions.head(size)
        shown = images.set_index("image_id").loc[rows["image_id"]].reset_index()
        return Bench(
            name=name,
            backbone=tower,
            nlp=nlp,
            pixels=load_pixels(shown, folders, tower),
            captions=rows["text"].tolist(),
            negatives=(wrong * len(rows))[: len(rows)],
            **parts,
        )

    own = bench(
        config.backbone.architecture,
        backbone,
        law.batch,
        readout=readout,
        visual=visual,
        text=text,
        calibration=calibration,
    )
    methods = [method for method in config.training.methods if method != "frozen"]
    frames = [measure_methods(own, config, methods, batch=len(own.captions), repeats=law.repeats)]
    large = load_backbone(BackboneConfig(architecture=law.reference, checkpoint=None), config.seed)
    reference = bench(
        f"{law.reference} (random weights)",
        large,
        law.reference_batch,
        readout="value" if "value" in large.readouts else "final",
        visual=VisualDisentangler.from_config(config.visual, large.dimension, large.grid).eval(),
        text=TextDisentangler.from_config(config.text, large.dimension, _lexical(large)).eval(),
        calibration=calibration,
        parsed=math.ceil(_doubtful_share(own) * law.reference_batch),
    )
    # The law is about the project's own method; a baseline's cost is told on the run's backbone.
    frames.append(
        measure_methods(
            reference, config, [method_name(MODULES)], batch=len(reference.captions), repeats=law.reference_repeats
        )
    )
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def _doubtful_share(bench: Bench) -> float:
    """Share of the bench's captions that the main path hands to the parser."""
    tokens = bench.backbone.tokenize(list(bench.captions))
    _, states = bench.backbone.text_tokens(tokens.ids)
    trusted = bench.text.trusted(bench.text.read(states, tokens.mask).distributions, tokens.mask)
    return float((~trusted).float().mean())


def _lexical(backbone: "Backbone") -> int:
    """Numbers of a token state beyond the joint space."""
    _, states = backbone.text_tokens(backbone.tokenize(["a"]).ids)
    return states.shape[-1] - backbone.dimension
