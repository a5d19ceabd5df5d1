"""Fit a signal on captioned images: units on one part of them, the calibration on another, the rest left untouched."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vialign.backbone.adopting import tensors_digest
from vialign.config.disentangle import TextConfig
from vialign.config.experiment import Config
from vialign.data.base import image_table
from vialign.digest import code_digest
from vialign.disentangle import Phrases, Prototypes, TextDisentangler, fit_text, fit_visual
from vialign.disentangle.caption_data import type_captions
from vialign.disentangle.moved import FITTED_MOVES, MOVES
from vialign.disentangle.spatial import set_spatial
from vialign.errors import UserError
from vialign.features import contract_provenance, extract_texts, read_texts
from vialign.features.readout import require_readout
from vialign.files.artifacts import Provenance
from vialign.progress import track_blocks
from vialign.signal.pairs import SplitFeatures, build_pairs, calibrate_signal
from vialign.stage import make_provenance
from vialign.tables.data import OBJECTS
from vialign.tables.language import TEXTS
from vialign.tables.signal import SIGNAL_CALIBRATION, TOOLKIT_IMAGES
from vialign.toolkit.captions import Captions, warn
from vialign.toolkit.encoder import Encoder, image_features, parse, prototypes_of, to_pixels
from vialign.toolkit.images import Broken, draw_parts, read_own
from vialign.toolkit.parsing import find_parser
from vialign.toolkit.signal import TENSORS, Signal

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone
    from vialign.features import TextFeatures

FIT_IMAGES = 1000
"""Images that the units are fitted on, at most, unless asked otherwise; their patches are held in memory."""
CALIBRATION_IMAGES = 400
"""Images of the calibration, at most, unless asked otherwise."""
_FEW = 200
"""Images below which the local similarity is likely to be weak."""
_CAPTIONS = 5
"""Captions of an image that the local contrastive loss of the dictionary draws from."""


def fit_signal(
    backbone: "Backbone",
    captions: Captions,
    parser: "Language | None" = None,
    *,
    config: Config | None = None,
    fit_images: int = FIT_IMAGES,
    calibration_images: int = CALIBRATION_IMAGES,
) -> Signal:
    """Fit the units and the calibration of a signal on captioned images without boxes.

    The images are divided by `config.seed`: at most half of them (and `fit_images`) for the units, at most a quarter
    (and `calibration_images`) for the calibration, the rest for nothing. `parser` is an English spaCy pipeline; without
    one see `find_parser`. Of `config` the sections visual, text, signal, language and features and the seed are used.
    Raises UserError when there are too few images, when the backbone has no such readout, or when a caption has no
    token.

    >>> from vialign.config.experiment import read_config
    >>> from vialign.toolkit import find_parser, open_backbone, read_captions
    >>> captions = read_captions("shapes/images", "shapes/captions.csv")
    >>> backbone, parser = open_backbone("vialign-scenes", "package"), find_parser("units/pipeline")
    >>> signal = fit_signal(backbone, captions, parser, config=read_config("quick.yaml"), fit_images=8)
    >>> signal.images.groupby("used_for").size().to_dict()
    {'calibration': 9, 'fit': 8}
    """
    config = config or Config()
    readout = _readout(backbone, config.features.readout)
    broken = Broken(captions.strict, len(captions.image_ids), captions.tolerance)
    parts = _divide(captions, config, fit_images, calibration_images, broken)
    broken.report()
    parser = find_parser(config=config.language, seed=config.seed) if parser is None else parser
    encoder = _fit_units(backbone, captions, parts, parser, readout, config)
    calibration = _calibrate(encoder, captions, parts, config)
    warn(_summary(parts, calibration))
    return Signal(encoder, calibration, parts, config.signal, _provenance(backbone, captions, parts, readout, config))


def _readout(backbone: "Backbone", wanted: str) -> str:
    readout = "final" if wanted == "auto" else wanted
    require_readout(backbone, readout)
    return readout


def _divide(captions: Captions, config: Config, fit: int, calibration: int, broken: Broken) -> pd.DataFrame:
    total, folds = len(captions.image_ids), config.signal.folds
    sizes = {"fit": min(total // 2, fit), "calibration": min(total // 4, calibration)}
    parts = TOOLKIT_IMAGES.check(draw_parts(captions, sizes, config.seed, broken))
    found = parts["used_for"].value_counts()
    for part, needed in (("fit", folds), ("calibration", folds)):
        if found.get(part, 0) < needed:
            raise UserError(
                f"{captions.file}: {found.get(part, 0)} of its {total} images are left for the {part}, which needs "
                f"{needed}; give more images (half of them fit the units, a quarter calibrates), or the units of "
                "another fit"
            )
    return parts


@dataclass(frozen=True)
class _Patches:
    """Patches of some images in half precision, and of the same images moved."""

    plain: Float[Tensor, "image patch dim"]
    moved: dict[str, Float[Tensor, "image patch dim"]]


def _fit_units(
    backbone: "Backbone", captions: Captions, parts: pd.DataFrame, parser: "Language", readout: str, config: Config
) -> Encoder:
    images = parts.loc[parts["used_for"] == "fit", "image_id"].tolist()
    texts = texts_of(captions.table, images)
    image_of_text = torch.as_tensor(pd.Index(images).get_indexer(pd.Index(texts["image_id"])))
    patches = _read_patches(backbone, captions.folder, images, readout, config.features.batch)
    with tempfile.TemporaryDirectory() as folder:
        batch, shard = config.features.batch, config.features.shard
        extract_texts(backbone, texts, folder, batch=batch, shard=shard, provenance={})
        features = read_texts(folder)
        visual, _ = fit_visual(
            patches.plain,
            OBJECTS.empty(),
            image_table([(image_id, "train", image_id, 1, 1) for image_id in images]),
            None,
            config.visual.model_copy(update={"images": len(images)}),
            backbone.grid,
            config.seed,
            patches.moved,
            features.pooled[_first_captions(image_of_text, len(images))],
            backbone.resize_mode,
        )
        prototypes = prototypes_of(visual, patches.plain)
        text, _ = fit_phrases(backbone, features, texts, image_of_text, prototypes, parser, config.text, config.seed)
    return Encoder(backbone, readout, visual, text, parser)


def fit_phrases(
    backbone: "Backbone",
    features: "TextFeatures",
    texts: pd.DataFrame,
    image_of_text: Int[Tensor, "text"],
    prototypes: Prototypes,
    parser: "Language",
    config: TextConfig,
    seed: int,
) -> tuple[TextDisentangler, pd.DataFrame]:
    """Fit the phrase units on captions (TEXTS) and the prototypes of their images, with typos and the gate, as a run.

    `features` are the stored ones of the texts, in their order; `image_of_text` gives each text's place in
    `prototypes`. The second result is the log of `vialign.disentangle.fit_text`. Raises as that.
    """
    units, _ = parse(texts["text"].tolist(), texts["text_id"].tolist(), parser)
    every = torch.arange(len(texts))
    typed = type_captions(texts, units, every, config, backbone, parser, seed)
    text, log = fit_text(features, units, image_of_text, prototypes, config, seed, every, typed)
    set_spatial(text, features, units, texts["text"].tolist(), every)
    return text, log


def _read_patches(backbone: "Backbone", folder: Path, images: Sequence[str], readout: str, batch: int) -> _Patches:
    plain: list[Tensor] = []
    moved: dict[str, list[Tensor]] = {move: [] for move in FITTED_MOVES}
    for names in track_blocks(blocks(images, batch), "patches of the images to fit on", len(images)):
        pixels = to_pixels(backbone, [read_own(folder, name).picture for name in names])
        plain.append(image_features(backbone, pixels, readout)[1].half())
        for move, found in moved.items():
            changed = MOVES[move].pixels(pixels, backbone.grid)
            found.append(image_features(backbone, changed, readout)[1].half())
    return _Patches(torch.cat(plain), {move: torch.cat(found) for move, found in moved.items()})


def _first_captions(image_of_text: Int[Tensor, "text"], images: int) -> Int[Tensor, "image caption"]:
    """Places of each image's first captions among the texts, repeated where it has fewer."""
    places: list[list[int]] = [[] for _ in range(images)]
    for text, image in enumerate(image_of_text.tolist()):
        places[image].append(text)
    return torch.tensor([[found[n % len(found)] for n in range(_CAPTIONS)] for found in places])


def _calibrate(encoder: Encoder, captions: Captions, parts: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Rows of `SIGNAL_CALIBRATION`, from aligned and random pairs of the images set apart for it."""
    images = parts.loc[parts["used_for"] == "calibration", "image_id"].tolist()
    texts = texts_of(captions.table, images)
    pairs = build_pairs(texts, images, ["random"], config.signal.pairs, config.seed)
    texts = texts[texts["text_id"].isin(pairs["text_id"])]
    batch = config.features.batch
    seen = [
        encoder.images([read_own(captions.folder, name).picture for name in names])
        for names in track_blocks(blocks(images, batch), "calibration images", len(images))
    ]
    said = [
        encoder.texts(some)
        for some in track_blocks(blocks(texts["text"].tolist(), batch), "calibration texts", len(texts))
    ]
    features = SplitFeatures(
        image_ids=images,
        image_pooled=torch.cat([side.pooled for side in seen]),
        prototypes=Prototypes.concatenate([side.prototypes for side in seen]),
        text_ids=texts["text_id"].tolist(),
        text_pooled=torch.cat([side.pooled for side in said]),
        phrases=Phrases.concatenate([side.phrases for side in said]),
    )
    return SIGNAL_CALIBRATION.check(calibrate_signal(pairs, features, config.signal, config.seed))


def texts_of(table: pd.DataFrame, images: Sequence[str]) -> pd.DataFrame:
    """TEXTS rows of the captions of some images."""
    chosen = table[table["image_id"].isin(set(images))]
    return TEXTS.check(chosen[["text_id", "image_id", "text"]].assign(split="train", kind="caption"))


def blocks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The items in runs of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _summary(parts: pd.DataFrame, calibration: pd.DataFrame) -> str:
    count = parts["used_for"].value_counts()
    auc = ", ".join(f"{row.similarity} {row.auc:.2f}" for row in calibration.itertuples())
    few = f"; {_FEW} or more images are better for the units" if count["fit"] < _FEW else ""
    return (
        f"units fitted on {count['fit']} images, calibrated on {count['calibration']} others "
        f"(AUC of aligned against random captions there: {auc}){few}"
    )


def _provenance(
    backbone: "Backbone", captions: Captions, parts: pd.DataFrame, readout: str, config: Config
) -> Provenance:
    """What made a signal; `fit` is a digest of all of it, the same in every file of one fit."""
    made = make_provenance(config, "signal toolkit", code_digest(__name__))
    made |= contract_provenance(backbone.contract)
    made |= {"readout": readout, "signal": config.signal.model_dump_json(), TENSORS: tensors_digest(backbone.model)}
    content = {"images": parts.to_dict("list"), "captions": captions.table[["text_id", "text"]].to_dict("list")}
    digest = hashlib.sha256(json.dumps([made, content], sort_keys=True).encode()).hexdigest()
    return {**made, "fit": digest}
