"""A fitted signal: everything that scores an image with a text, and its folder on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.config.signal import SignalConfig
from vialign.disentangle import load_text, load_visual, save_text, save_visual
from vialign.errors import UserError, reading
from vialign.features import contract_provenance
from vialign.files.artifacts import (
    Provenance,
    check_contract,
    read_provenance,
    read_table,
    write_table,
)
from vialign.files.folders import new_folder
from vialign.files.images import as_rgb
from vialign.language.pipeline import load_pipeline, save_pipeline
from vialign.signal.calibration import SignalCalibration, read_calibration
from vialign.signal.pairs import SplitFeatures, score_pairs
from vialign.tables.signal import SIGNAL_CALIBRATION, TOOLKIT_IMAGES
from vialign.toolkit.encoder import Encoder, ImageSide, TextSide

if TYPE_CHECKING:
    from PIL import Image

    from vialign.backbone import Backbone

VISUAL, TEXT, CALIBRATION, IMAGES, PARSER = (
    "visual.safetensors",
    "text.safetensors",
    "calibration.parquet",
    "images.parquet",
    "pipeline",
)
TENSORS = "backbone_tensors"
"""In the provenance: digest of the backbone's tensors, by which a model in memory is known again."""


@dataclass(frozen=True)
class Signal:
    """Units and calibration of one backbone; applies, never changes."""

    encoder: Encoder
    calibration: pd.DataFrame
    """Rows of `SIGNAL_CALIBRATION`."""
    images: pd.DataFrame
    """Rows of `TOOLKIT_IMAGES`: what it was fitted and calibrated on."""
    config: SignalConfig
    """Driver and temperature."""
    provenance: Provenance

    @property
    def used(self) -> dict[str, str]:
        """Content digest of every image that was used, to what it was used for."""
        return dict(zip(self.images["content"], self.images["used_for"], strict=True))

    def score(self, pictures: Sequence["Image.Image"], texts: Sequence[str]) -> pd.DataFrame:
        """Every signal of pairs in memory, picture i with text i; columns of `SIGNAL_SCORES` without ids and kind.

        Pictures are turned upright, scaled to 8 bits and laid on white, as files are (`vialign.files.images`). All of
        them go through the towers together, so give a batch at a time. Raises UserError when the numbers differ or a
        text has no token.

        >>> from PIL import Image
        >>> from vialign.toolkit import load_signal, open_backbone
        >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
        >>> picture = Image.open("shapes/images/00000.png")
        >>> scores = signal.score([picture, picture], ["a red circle", "a blue square above a red circle"])
        >>> scores[["s_global", "s_local", "consistency", "agreement"]].shape
        (2, 4)
        """
        if len(pictures) != len(texts):
            raise UserError(f"signal: {len(pictures)} pictures with {len(texts)} texts; give one text a picture")
        names = [str(row) for row in range(len(texts))]
        pairs = pd.DataFrame({"image_id": names, "text_id": names, "kind": "aligned"})
        seen = [as_rgb(picture, own=True).picture for picture in pictures]
        sides = self.encoder.images(seen), self.encoder.texts(texts)
        return self.pair_scores(pairs, names, names, *sides).drop(columns=["image_id", "text_id", "kind"])

    def pair_scores(
        self,
        pairs: pd.DataFrame,
        image_ids: Sequence[str],
        text_ids: Sequence[str],
        images: ImageSide,
        texts: TextSide,
    ) -> pd.DataFrame:
        """Rows of `SIGNAL_SCORES` for `pairs` (image_id, text_id, kind) of encoded images and texts."""
        features = SplitFeatures(image_ids, images.pooled, images.prototypes, text_ids, texts.pooled, texts.phrases)
        return score_pairs(pairs, features, SignalCalibration.from_table(self.calibration), self.config, seed=0)


def save_signal(signal: Signal, folder: str | Path) -> None:
    """Write a signal as a new folder, which appears only when it is complete. Raises UserError when it exists.

    >>> from vialign.toolkit import open_backbone
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> save_signal(signal, "copy_of_units")
    >>> sorted(path.name for path in Path("copy_of_units").iterdir())
    ['calibration.parquet', 'images.parquet', 'pipeline', 'text.safetensors', 'visual.safetensors']
    """
    with new_folder(folder, "the units") as temporary:
        write_signal(signal, temporary)


def write_signal(signal: Signal, folder: Path) -> None:
    """Write the files of a signal into a folder that is there."""
    save_visual(signal.encoder.visual, folder / VISUAL, signal.provenance)
    save_text(signal.encoder.text, folder / TEXT, signal.provenance)
    write_table(signal.calibration, SIGNAL_CALIBRATION, folder / CALIBRATION, signal.provenance)
    write_table(signal.images, TOOLKIT_IMAGES, folder / IMAGES, signal.provenance)
    save_pipeline(signal.encoder.parser, folder / PARSER, signal.provenance)


def load_signal(folder: str | Path, backbone: "Backbone") -> Signal:
    """Read a signal that `save_signal` wrote.

    Raises UserError when a file is missing or damaged, when the files are not of one fit, or when the backbone is not
    the one that it was fitted with; the message names the field that differs.

    >>> from vialign.toolkit import open_backbone
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> signal.calibration["similarity"].tolist()
    ['s_global', 's_local']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of units; make it with `vialign signal fit`")
    files = [folder / name for name in (VISUAL, TEXT, CALIBRATION, IMAGES)]
    contract = contract_provenance(backbone.contract)
    for file in files:
        check_contract(file, contract)
    parser = load_pipeline(folder / PARSER)
    provenance = read_provenance(files[0])
    fits = {file.name: read_provenance(file).get("fit") for file in files}
    said = parser.meta.get("vialign")
    fits[PARSER] = said.get("fit") if isinstance(said, dict) else None
    for name, fit in fits.items():
        if fit is None or fit != provenance.get("fit"):
            raise UserError(f"{folder / name}: is of another fit than {files[0].name}; restore the folder or fit again")
    with reading(folder, "restore the folder or fit again"):
        read_calibration(folder / CALIBRATION)
        return Signal(
            encoder=Encoder(
                backbone=backbone,
                readout=provenance["readout"],
                visual=load_visual(folder / VISUAL),
                text=load_text(folder / TEXT),
                parser=parser,
            ),
            calibration=read_table(folder / CALIBRATION, SIGNAL_CALIBRATION),
            images=read_table(folder / IMAGES, TOOLKIT_IMAGES),
            config=SignalConfig.model_validate_json(provenance["signal"]),
            provenance={
                name: value for name, value in provenance.items() if name not in ("module", "numbers", "table")
            },
        )
