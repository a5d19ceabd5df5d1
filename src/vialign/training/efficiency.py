"""The ledger's subjects: what a method does end to end, from pixels and text to a score, and in one training step.

Nothing is taken from a cache here. Each call runs the frozen towers, the disentanglers, the parser on a stated share of
the captions, and the method. Explicit regions are the exception, which two baselines read: they are drawn, as many an
image as the config allows, and the detector that finds them is in no time.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from vialign.backbone import load_backbone
from vialign.budget.counting import Counts, Work, count_parser, parser_counts
from vialign.budget.ledger import Parser, Reading, Subject, measure_subjects
from vialign.catalogue import BOX_METHODS, CURRICULUM, UNTRAINED
from vialign.config.data import BackboneConfig
from vialign.config.experiment import Config
from vialign.device import to_device
from vialign.disentangle import Phrases, Prototypes, TextDisentangler, TokenStructure, VisualDisentangler, place_units
from vialign.disentangle.boxes import BoxTargets, drawn_targets
from vialign.disentangle.sizing import largest_visual
from vialign.features import load_pixels
from vialign.features.regions import Regions, drawn_regions
from vialign.files.text import read_text
from vialign.language.units import units_or_whole
from vialign.methods.build import build_method
from vialign.methods.ground import word_summary
from vialign.methods.objective import Batch, Objective, Side, SplitData
from vialign.names import CROPS
from vialign.signal.calibration import SignalCalibration
from vialign.tables.data import NEGATIVE_KINDS
from vialign.tables.gates import BUDGET

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone
    from vialign.backbone.protocol import Tokens

FROM_PIXELS = frozenset({"pixels", "trunk"})
"""Needs of a method that runs the image tower itself, which in the ledger counts from the pixels on."""
FROM_TOKENS = frozenset({"token_ids"})
"""Needs of a method that runs the text tower itself."""
Needs = frozenset[str]


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
    shares: Mapping[str, float] = field(default_factory=lambda: {"all": 1.0})
    """Shares of captions that go to the parser and at which the overhead is reported (`budget.printing.SHARES`)."""
    timed: str = "all"
    """The share that is timed end to end and held against the limits."""
    regions: Regions | None = None
    """Of the pixels, for a method that needs them: drawn, since what finds regions runs before any method."""
    boxes: BoxTargets | None = None
    """The same for a method that is told labelled boxes in training."""


def measure_methods(bench: Bench, config: Config, methods: Sequence[str], *, rounds: int) -> pd.DataFrame:
    """BUDGET rows of every method on one bench, beside the frozen backbone and the plain loop."""
    return measure_subjects(
        [method_subject(bench, config, method) for method in methods],
        method_subject(bench, config, "frozen", plain="vialign-none"),
        backbone=bench.name,
        batch=len(bench.captions),
        rounds=rounds,
        limits=config.budget,
        seed=config.seed,
    )


def method_subject(bench: Bench, config: Config, name: str, plain: str | None = None) -> Subject:
    """One method; `plain` names the method whose step is the loop with every module removed."""
    method = build_method(name, config, bench.backbone, bench.calibration, config.seed).to(bench.backbone.device)
    if "regions" in method.needs:
        drawn = drawn_regions(len(bench.pixels), config.data, bench.backbone.dimension, config.seed)
        bench = replace(bench, regions=drawn.bound_for(bench.backbone.device))
    if name in BOX_METHODS:
        boxes = drawn_targets(len(bench.pixels), math.prod(bench.backbone.grid), config.seed)
        bench = replace(bench, boxes=boxes.to(bench.backbone.device))
    local = name in CURRICULUM
    # What a method shares with the backbone counts once.
    modules: tuple[nn.Module, ...] = (bench.backbone.model, method)
    if local:
        modules = (*modules, bench.visual, bench.text)

    deployed = method.merged()
    image, text, pair = _inference(bench, deployed, local)
    trained = name if plain is None else plain
    return Subject(
        method=name,
        modules=modules,
        trainable=tuple(method.trainable().values()),
        image=image,
        text=text,
        pair=pair,
        step=None if trained in UNTRAINED else _step(bench, config, trained),
        unmerged=None if deployed is method else _inference(bench, method, local)[2],
        parser=_parser(bench) if local else None,
    )


def _inference(bench: Bench, method: Objective, local: bool) -> tuple[Work, Work, Work]:
    """Image side, text side, and pairs of one batch."""

    def image() -> Side:
        return method.images(_images(bench, local, method.needs), torch.arange(len(bench.pixels)))

    def text() -> Side:
        return method.texts(_texts(bench, bench.captions, local, method.needs), torch.arange(len(bench.captions)))

    def pair() -> Tensor:
        return method.pair_scores(image(), text())

    return image, text, pair


def _parser(bench: Bench) -> Parser:
    """What the parser stores and does for the bench's captions, at every share."""
    tokens = bench.backbone.tokenize(list(bench.captions))

    def reading(share: float) -> Reading:
        rows = _parsed_rows(share, len(bench.captions))
        return Reading(share, lambda: _structure(bench, bench.captions, rows, tokens.offsets, tokens.mask))

    def counts(captions: Sequence[str]) -> Counts:
        rows = _parsed_rows(bench.shares[bench.timed], len(captions))
        return parser_counts(bench.nlp, [len(bench.nlp.make_doc(captions[row])) for row in rows.tolist()])

    return Parser(
        numbers=count_parser(bench.nlp),
        readings={name: reading(share) for name, share in bench.shares.items()},
        timed=bench.timed,
        text=counts(bench.captions),
        step=counts([*bench.captions, *bench.negatives]),
    )


def _step(bench: Bench, config: Config, name: str) -> Work:
    """One optimiser step of the training loop, from pixels and text."""
    method = build_method(name, config, bench.backbone, bench.calibration, config.seed).to(bench.backbone.device)
    method.train()
    local = bool(CURRICULUM.get(name))
    optimiser = torch.optim.AdamW(method.trainable().values(), lr=1e-4)
    size = len(bench.pixels)
    batch = Batch(torch.arange(size), torch.arange(size), torch.arange(size) + size)

    def step() -> None:
        texts = _texts(bench, [*bench.captions, *bench.negatives], local, method.needs)
        images = _images(bench, local, method.needs)
        own = {
            name: getattr(images, name)
            for name in ("image_pooled", "prototypes", "pixels", "patches", "regions", "boxes")
        }
        data = replace(texts, **own)
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


def _images(bench: Bench, local: bool, needs: Needs) -> SplitData:
    """The image half of a split, made now from pixels: raw, pooled, with patches, or with prototypes."""
    pooled, patches, prototypes = torch.empty(0, bench.backbone.dimension), None, _NO_PROTOTYPES
    shown = to_device(bench.pixels, bench.backbone.device)
    if needs.isdisjoint(FROM_PIXELS):
        with torch.no_grad():
            pixels = bench.backbone.normalise(shown)
            if local or "patches" in needs:
                pooled, patches = bench.backbone.image_tokens(pixels, bench.readout)
                prototypes = bench.visual(patches) if local else _NO_PROTOTYPES
            else:
                pooled = bench.backbone.encode_image(pixels)
    return SplitData(
        **_empty(0),  # type: ignore[arg-type]
        image_pooled=pooled,
        text_pooled=torch.empty(0, bench.backbone.dimension),
        prototypes=prototypes,
        phrases=_NO_PHRASES,
        pixels=shown,
        patches=patches,
        regions=bench.regions,
        boxes=bench.boxes,
    )


def _texts(bench: Bench, captions: Sequence[str], local: bool, needs: Needs) -> SplitData:
    """The text half of a split, made now from text: token ids, pooled, with token states, or with phrases."""
    tokens = bench.backbone.tokenize(list(captions))
    ids, mask = (to_device(part, bench.backbone.device) for part in (tokens.ids, tokens.mask))
    pooled, states, phrases = torch.empty(len(captions), bench.backbone.dimension), None, _NO_PHRASES
    words = None
    if needs.isdisjoint(FROM_TOKENS) or "words" in needs:
        with torch.no_grad():
            if local or not needs.isdisjoint({"states", "words"}):
                pooled, states = bench.backbone.text_tokens(ids)
                if "words" in needs:
                    words = word_summary(states, mask, bench.backbone.dimension)
                if local:
                    phrases = _phrases(bench, list(captions), states, tokens)
            else:
                pooled = bench.backbone.encode_text(ids)
    empty = {**_empty(len(captions)), "texts": pd.DataFrame({"text": list(captions)})}
    return SplitData(
        **empty,  # type: ignore[arg-type]
        image_pooled=torch.empty(0, bench.backbone.dimension),
        text_pooled=pooled,
        prototypes=_NO_PROTOTYPES,
        phrases=phrases,
        token_ids=ids,
        states=states,
        mask=mask,
        words=words,
    )


def _phrases(bench: Bench, captions: list[str], states: Tensor, tokens: "Tokens") -> Phrases:
    """Phrase units as at inference: the main path reads every caption, the parser the share that is timed."""
    mask = to_device(tokens.mask, states.device)
    reading = bench.text.read(states, mask)
    rows = _parsed_rows(bench.shares[bench.timed], len(captions))
    structure = None
    if len(rows):
        structure = _structure(bench, captions, rows, tokens.offsets, tokens.mask).to(states.device)
    return bench.text.phrases(reading, mask, bench.text.decide(reading.distributions, mask, structure))


def _parsed_rows(share: float, captions: int) -> Tensor:
    """Positions of the captions that the parser reads; which ones they are makes no difference to the time."""
    return torch.arange(math.ceil(share * captions - 1e-9))


def _structure(bench: Bench, captions: Sequence[str], rows: Tensor, offsets: Tensor, mask: Tensor) -> TokenStructure:
    """The parser's reading of some captions of a batch, on its tokens."""
    asked = [captions[row] for row in rows]
    units, _ = units_or_whole(asked, asked, bench.nlp)
    return place_units(units, rows.tolist(), offsets, mask)


def measure_run(
    backbone: "Backbone",
    readout: str,
    visual: VisualDisentangler,
    text: TextDisentangler,
    nlp: "Language",
    calibration: SignalCalibration,
    images: pd.DataFrame,
    texts: pd.DataFrame,
    foreign: Sequence[str],
    folders: Mapping[str, Path],
    config: Config,
    methods: Sequence[str],
    at_reference: Sequence[str],
) -> pd.DataFrame:
    """The ledger of a run: `methods` on its own backbone, and those `at_reference` at the reference size.

    At the reference size weights are random, since only sizes and times are measured there. The shares of captions that
    go to the parser are measured on the run's own backbone: of its captions (in-domain), and of `foreign` texts, at
    whose share the times are held against the limits.
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
            shares=shares,
            timed="out_of_domain",
            **parts,
        )

    shares = {
        "none": 0.0,
        "in_domain": doubtful_share(backbone, text, captions["text"].tolist()),
        "out_of_domain": doubtful_share(backbone, text, foreign),
        "all": 1.0,
    }
    own = bench(
        config.backbone.architecture,
        backbone,
        law.batch,
        readout=readout,
        visual=visual,
        text=text,
        calibration=calibration,
    )
    frames = [measure_methods(own, config, methods, rounds=law.rounds)]
    blank = BackboneConfig(architecture=law.reference, checkpoint=None, precision=config.backbone.precision)
    large = load_backbone(blank, config.seed).to(backbone.device)
    reference = bench(
        f"{law.reference} (random weights)",
        large,
        law.reference_batch,
        calibration=calibration,
        **fresh_units(large, config, readout),
    )
    frames.append(measure_methods(reference, config, at_reference, rounds=law.rounds))
    return pd.concat(frames, ignore_index=True)


def one_off_rows(costs: Mapping[str, str | Path], backbone: str) -> pd.DataFrame:
    """BUDGET rows of what is fitted once, before the first training step of the full method.

    `costs` holds, by what is fitted, the file in which Snakemake measured its job.
    """
    rows = [
        {
            "method": "vialign",
            "backbone": backbone,
            "measure": f"one_off_seconds_{part}",
            "value": float(pd.read_csv(io.StringIO(read_text(path)), sep="\t")["s"].iloc[0]),
            "unit": "seconds, once",
        }
        for part, path in costs.items()
    ]
    return pd.DataFrame(rows, columns=list(BUDGET.columns))


def fresh_units(backbone: "Backbone", config: Config, readout: str) -> dict[str, Any]:
    """The parts of a `Bench` that a run fits, as they are before that: readout and disentanglers.

    Of the tower's readouts the usual one stands for all, whichever `readout` is: they cost about the same, but crops.
    """
    _, states = backbone.text_tokens(backbone.tokenize(["a"]).ids.to(backbone.device))
    lexical, device, sizes = states.shape[-1] - backbone.dimension, backbone.device, largest_visual(config.visual)
    return {
        "readout": CROPS if readout == CROPS else "value" if "value" in backbone.readouts else "final",
        "visual": VisualDisentangler.from_config(sizes, backbone.dimension, backbone.grid).to(device).eval(),
        "text": TextDisentangler.from_config(config.text, backbone.dimension, lexical).to(device).eval(),
    }


@torch.no_grad()
def doubtful_share(backbone: "Backbone", text: TextDisentangler, captions: Sequence[str], batch: int = 256) -> float:
    """Share of the captions that the main path hands to the parser. Raises ValueError when there are none."""
    if not captions:
        raise ValueError("doubtful_share: no captions")
    doubtful = 0
    for start in range(0, len(captions), batch):
        tokens = backbone.tokenize(list(captions[start : start + batch]))
        ids, mask = (to_device(part, backbone.device) for part in (tokens.ids, tokens.mask))
        _, states = backbone.text_tokens(ids)
        doubtful += int((~text.trusted(text.read(states, mask).distributions, mask)).sum())
    return doubtful / len(captions)
