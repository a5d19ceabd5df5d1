"""One image and one caption as the signal of a run sees them: which phrase found which prototype, and where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vialign.backbone import load_backbone
from vialign.config.experiment import Config
from vialign.config.signal import SignalConfig
from vialign.digest import code_digest
from vialign.disentangle import Phrases, Prototypes, align_units, load_text, load_visual
from vialign.disentangle.caption_data import require_tokens
from vialign.disentangle.types import NONE
from vialign.errors import UserError
from vialign.features import contract_provenance
from vialign.files.artifacts import Provenance, check_contract, read_provenance
from vialign.gates.verdict import chosen_method
from vialign.language.pipeline import load_pipeline
from vialign.methods.build import build_method
from vialign.methods.checkpoint import load_best
from vialign.methods.ground import word_summary
from vialign.methods.objective import assemble
from vialign.signal.calibration import SignalCalibration, read_calibration
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.signal.score import phrase_matches, relation_queries
from vialign.stage import make_provenance
from vialign.tables.language import UNIT_KINDS
from vialign.toolkit.captions import tell_cut
from vialign.toolkit.diagnosing import with_negatives
from vialign.toolkit.encoder import Encoder, TextTokens, image_features, parse, read_tokens, to_pixels

if TYPE_CHECKING:
    from PIL import Image

NEEDED = {
    "language/pipeline/meta.json": "language",
    "features/readout.parquet": "readout",
    "disentangle/visual.safetensors": "disentangle",
    "disentangle/text.safetensors": "disentangle",
    "signal/calibration.parquet": "calibrate_signal",
}
"""What of a run is read, relative to its results, and the target that makes it."""
METHODS = ("frozen", "vialign")
"""Methods whose score is shown where they are trained; the chosen combination comes third."""
_CAPTION = "caption"
_IMAGE = "image"


@dataclass(frozen=True)
class RunSignal:
    """The signal of a finished run, ready for images and captions that it has never seen."""

    results: Path
    config: Config
    encoder: Encoder
    calibration: SignalCalibration

    @property
    def provenance(self) -> Provenance:
        """What made an explanation."""
        made = make_provenance(self.config, "explain", code_digest(__name__))
        return {**made, **contract_provenance(self.encoder.backbone.contract), "readout": self.encoder.readout}


@dataclass(frozen=True)
class Found:
    """The prototype that a phrase found."""

    words: str
    """Of the phrase."""
    prototype: int
    """By mass, from 0."""
    cosine: float
    """Of phrase and prototype."""
    mass: float
    """Share of the image's foreground that the prototype holds."""
    centre: tuple[float, float]
    """Mean x and y of its map, in image widths and heights."""
    map: Float[np.ndarray, "row column"]
    """Where it is; sums to 1 over the patches."""


@dataclass(frozen=True)
class Match:
    """A phrase of the caption and what it found in the image."""

    words: str
    kind: str
    """One of `UNIT_KINDS`."""
    weight: float
    """In S_local."""
    match: float
    """What the phrase adds to S_local, before its weight: the cosine with its prototype or, of a relation whose both
    arguments are known, the cosine of what it asks with the geometry of their prototypes."""
    found: tuple[Found, ...]
    """One prototype, or those of subject and object of such a relation."""


@dataclass(frozen=True)
class Explanation:
    """Everything that is shown of one pair."""

    caption: str
    pixels: UInt8[np.ndarray, "height width 3"]
    """What the image tower sees: after resize and crop."""
    matches: tuple[Match, ...]
    parsed: bool
    """Whether the parser found a unit; where not, the whole caption stands as one."""
    scores: pd.DataFrame
    """Columns of `SIGNAL_SCORES` and `text`: the caption first (`aligned`), then itself made wrong by rule."""
    methods: dict[str, Float[np.ndarray, "text seed"]]
    """By trained method, the score of each text of `scores` by each training."""


def open_run(config: Config) -> RunSignal:
    """The signal of the run in `config.results`.

    Raises UserError when a part of it is missing (naming the target that makes it) or was made with another backbone.
    """
    results = Path(config.results)
    for name, target in NEEDED.items():
        if not (results / name).is_file():
            raise UserError(
                f"{results / name}: no such file; make it with `snakemake {target}`, or name other --results"
            )
    backbone = load_backbone(config.backbone, config.seed)
    readout = results / "features/readout.parquet"
    check_contract(readout, contract_provenance(backbone.contract))
    encoder = Encoder(
        backbone,
        read_provenance(readout)["readout"],
        load_visual(results / "disentangle/visual.safetensors"),
        load_text(results / "disentangle/text.safetensors"),
        load_pipeline(results / "language/pipeline"),
    )
    return RunSignal(results, config, encoder, read_calibration(results / "signal/calibration.parquet"))


def explain_pair(run: RunSignal, picture: "Image.Image", caption: str) -> Explanation:
    """What the signal of a run makes of an image and a caption. Raises UserError for a caption without words."""
    methods = partial(_method_scores, run)
    return explain_signal(run.encoder, run.calibration, run.config.signal, picture, caption, methods, run.config.seed)


def explain_signal(
    encoder: Encoder,
    calibration: SignalCalibration,
    config: SignalConfig,
    picture: "Image.Image",
    caption: str,
    methods: Callable[[pd.DataFrame, SplitFeatures], dict[str, Float[np.ndarray, "text seed"]]],
    seed: int = 0,
) -> Explanation:
    """What a signal makes of an image and a caption, beside the scores that `methods` give the caption's texts.

    Raises UserError for a caption without words.
    """
    caption = " ".join(caption.split())
    if not caption:
        raise UserError('explain: the caption is empty; give one in quotes, such as "a red circle above a blue square"')
    texts = with_negatives(_caption_row(caption), encoder.parser, seed)
    with torch.no_grad():
        pixels = to_pixels(encoder.backbone, [picture])
        pooled, patches = image_features(encoder.backbone, pixels, encoder.readout)
        prototypes = encoder.visual(patches)
        text_pooled, phrases, words, parsed = _read_texts(encoder, texts)
        features = SplitFeatures([_IMAGE], pooled, prototypes, texts["text_id"].tolist(), text_pooled, phrases)
        matches = phrase_finds(prototypes, phrases.index(slice(0, 1)), words, encoder.backbone.grid)
        scored = methods(texts, features)
    pairs = texts[["image_id", "text_id", "kind"]].replace({"kind": {"caption": "aligned"}})
    plain = config.model_copy(update={"shuffle_prototypes": False})
    return Explanation(
        caption,
        pixels[0].permute(1, 2, 0).numpy(),
        matches,
        parsed,
        score_pairs(pairs, features, calibration, plain, seed).assign(text=texts["text"].to_numpy()),
        scored,
    )


def _caption_row(caption: str) -> pd.DataFrame:
    row = {"text_id": _CAPTION, "split": "test", "image_id": _IMAGE, "kind": "caption", "text": caption}
    return pd.DataFrame([row])


def _read_texts(encoder: Encoder, texts: pd.DataFrame) -> tuple[Float[Tensor, "text dim"], Phrases, list[str], bool]:
    """Pooled embeddings and phrases of all texts; the words of the caption's phrases, and whether it was parsed."""
    phrases, words, parsed, read = read_phrases(encoder, texts["text"].tolist(), texts["text_id"].tolist())
    tell_cut("explain: the caption", read.cut[0])
    return read.pooled, replace(phrases, assign=None), words[0], parsed[0]


def read_phrases(
    encoder: Encoder, texts: Sequence[str], names: list[str]
) -> tuple[Phrases, list[list[str]], list[bool], TextTokens]:
    """Phrases of some texts, the words of each phrase, which texts were parsed, and what the tower says of them."""
    units, parsed = parse(texts, names, encoder.parser)
    read = read_tokens(encoder.backbone, texts, names)
    require_tokens(read.mask, names)
    phrases = encoder.text(read.states, read.mask, align_units(units, names, read.offsets, read.mask))
    assert phrases.assign is not None
    words = [
        [_words(text, offsets[share > 0].tolist()) for share in shares]
        for text, offsets, shares in zip(texts, read.offsets, phrases.assign, strict=True)
    ]
    return phrases, words, parsed, read


def _words(text: str, offsets: Sequence[Sequence[int]]) -> str:
    """The words that some tokens stand in, with dots for what lies between them."""
    runs: list[list[int]] = []
    for start, end in offsets:
        if runs and not text[runs[-1][1] : start].strip():
            runs[-1][1] = end
        else:
            runs.append([start, end])
    return " … ".join(text[start:end].strip() for start, end in runs)


def phrase_finds(
    prototypes: Prototypes, phrases: Phrases, words: list[str], grid: tuple[int, int]
) -> tuple[Match, ...]:
    """Every phrase of one caption with what it found in one image."""
    sides = prototypes.features, phrases.features, prototypes.mass, prototypes.moments
    best, place = (value[0] for value in phrase_matches(*sides, relation_queries(phrases)))
    # Where each phrase lies by itself: the argument of a relation is found as the entity that it is.
    alone, place_alone = (value[0] for value in phrase_matches(*sides[:3]))
    maps = prototypes.maps
    assert maps is not None

    def found(slot: int, at: int, cosine: float) -> Found:
        x, y = prototypes.moments[0, at, :2].tolist()
        return Found(words[slot], at, cosine, float(prototypes.mass[0, at]), (x, y), maps[0, at].reshape(grid).numpy())

    result = []
    for slot in (phrases.kind[0] != NONE).nonzero().flatten().tolist():
        told = phrases.direction is not None and bool(phrases.direction[0, slot].any())
        slots = [int(phrases.subject[0, slot]), int(phrases.object[0, slot])] if told else [slot]
        result.append(
            Match(
                words[slot],
                UNIT_KINDS[int(phrases.kind[0, slot]) - 1],
                float(phrases.weight[0, slot]),
                float(best[slot]),
                tuple(found(each, int(place_alone[each]), float(alone[each])) for each in slots),
            )
        )
    return tuple(result)


def _words_said(run: RunSignal, texts: list[str]) -> Tensor | None:
    """`word_summary` of the texts, where the run's config grounds words."""
    if run.config.curriculum.grounding.share == 0:
        return None
    backbone = run.encoder.backbone
    tokens = backbone.tokenize(texts)
    with torch.inference_mode():
        _, states = backbone.text_tokens(tokens.ids.to(backbone.device))
    return word_summary(states.cpu(), tokens.mask, backbone.dimension)


def _method_scores(
    run: RunSignal, texts: pd.DataFrame, features: SplitFeatures
) -> dict[str, Float[np.ndarray, "text seed"]]:
    """Scores of the image with each text by every trained method that is shown."""
    data = assemble(
        texts,
        list(features.image_ids),
        list(features.text_ids),
        features.image_pooled,
        features.text_pooled,
        replace(features.prototypes, maps=None),
        features.phrases,
        words=_words_said(run, texts["text"].tolist()),
    )
    ablation = run.results / "ablate/ablation.parquet"
    names = dict.fromkeys([*METHODS, *([chosen_method(str(ablation))] if ablation.is_file() else [])])
    scores = {}
    for name in names:
        seeds = run.config.training.seeds[:1] if name == "frozen" else run.config.training.seeds
        weights = {seed: run.results / f"train/{name}/{seed}/final.safetensors" for seed in seeds}
        found = []
        for seed, path in weights.items():
            if path.is_file():
                method = build_method(name, run.config, run.encoder.backbone, run.calibration, seed)
                load_best(method, path)
                images = method.images(data, torch.zeros(1, dtype=torch.long))
                found.append(method.scores(images, method.texts(data, torch.arange(len(texts))))[0])
        if found:
            scores[name] = torch.stack(found, dim=1).numpy()
    return scores
