"""Score image-text pairs as a stream: memory is that of a batch and of the table of texts, whatever their number."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vialign.errors import UserError
from vialign.progress import track_starts
from vialign.tables.signal import TOOLKIT_SCORES
from vialign.toolkit.captions import Captions, warn
from vialign.toolkit.encoder import ImageSide
from vialign.toolkit.images import NONE, Broken, content_digest
from vialign.toolkit.signal import Signal
from vialign.toolkit.writing import stream_table

BATCH = 32
"""Images that go through the tower together."""
TEXTS = 4
"""Texts that go through the tower together, for each image of a batch."""


@dataclass(frozen=True)
class Scored:
    """What a run of scoring did."""

    pairs: int
    images: int
    skipped_images: int
    """Files that could not be read."""
    unparsed: int
    """Texts in which the parser found no unit, so that the whole text stands as one."""
    seconds: float

    def __str__(self) -> str:
        rate = self.pairs / self.seconds if self.seconds > 0 else float("inf")
        skipped = f", {self.skipped_images} image files skipped" if self.skipped_images else ""
        return (
            f"{self.pairs} pairs of {self.images} images in {self.seconds:.1f} s ({rate:.1f} pairs a second)"
            f"{skipped}; {self.unparsed} texts had no phrase that the parser could find and stand as one unit each"
        )


def score_signal(signal: Signal, captions: Captions, output: str | Path, batch: int = BATCH) -> Scored:
    """Score every image with each of its captions; one row a pair in the Parquet file `output` (TOOLKIT_SCORES).

    Rows are sorted by image, in the order of each image's first caption. The file appears when all is done. Image files
    that cannot be read are skipped and counted, or stop the work where `captions.strict`. Raises UserError then, when
    none can be read, and when a caption has no token.

    >>> from vialign.toolkit import load_signal, open_backbone, read_captions
    >>> signal = load_signal("units", open_backbone("vialign-scenes", "package"))
    >>> captions = read_captions("shapes/images", "shapes/captions.csv")
    >>> scored = score_signal(signal, captions, "scores.parquet")
    >>> scored.pairs, scored.images
    (180, 36)
    >>> scores = pd.read_parquet("scores.parquet")
    >>> scores["used_for"].value_counts().to_dict()
    {'none': 110, 'fit': 40, 'calibration': 30}
    """
    started = time.monotonic()
    broken = Broken(captions.strict, len(captions.image_ids), captions.tolerance)
    pairs = captions.table.assign(kind="aligned")
    used, unparsed, cut = signal.used, 0, 0
    images: set[str] = set()
    with stream_table(TOOLKIT_SCORES, output, signal.provenance) as file:
        for block in stream_pairs(signal, pairs, captions.folder, broken, batch):
            names = block["image_id"].unique()
            part = {name: used.get(content_digest(captions.folder / name), NONE) for name in names}
            file.append(block.drop(columns="text").assign(used_for=block["image_id"].map(part)))
            images.update(names)
            unparsed += int((~block["parsed"]).sum())
            cut += int(block["cut"].sum())
        if not file.rows:
            raise UserError(f"{captions.folder}: none of the images can be read; the first: {broken.first}")
    broken.report()
    if cut:
        warn(f"{cut} of {file.rows} captions are longer than the model reads; their end is cut off (column `cut`)")
    return Scored(file.rows, len(images), len(broken.names), unparsed, time.monotonic() - started)


def stream_pairs(
    signal: Signal, pairs: pd.DataFrame, folder: Path, broken: Broken, batch: int = BATCH
) -> Iterator[pd.DataFrame]:
    """Blocks of `pairs` with the columns of `SIGNAL_SCORES`, `parsed` and `cut`; pairs of one image stand together.

    `pairs` has image_id (file name in `folder`), text_id, kind and text; further columns are carried along. At most
    `batch` images and `TEXTS` times as many texts are held at a time. Pairs of broken images are left out.
    """
    codes, names = pd.factorize(pairs["image_id"])
    order = np.argsort(codes, kind="stable")
    pairs, codes = pairs.iloc[order], codes[order]
    for start in track_starts(len(names), batch, f"images of {len(pairs)} pairs"):
        read = {name: broken.read(folder, name) for name in names[start : start + batch]}
        pictures = {name: picture for name, picture in read.items() if picture is not None}
        if not pictures:
            continue
        side = signal.encoder.images(list(pictures.values()))
        first, last = np.searchsorted(codes, [start, start + batch])
        rows = pairs.iloc[first:last]
        rows = rows[rows["image_id"].isin(pictures.keys())]
        for place in range(0, len(rows), TEXTS * batch):
            yield _score_block(signal, rows.iloc[place : place + TEXTS * batch], list(pictures), side)


def _score_block(signal: Signal, rows: pd.DataFrame, image_ids: list[str], images: ImageSide) -> pd.DataFrame:
    texts = rows.drop_duplicates("text_id")
    text_ids = texts["text_id"].tolist()
    side = signal.encoder.texts(texts["text"].tolist(), text_ids)
    scores = signal.pair_scores(rows.reset_index(drop=True), image_ids, text_ids, images, side)
    parsed, cut = (
        rows["text_id"].map(dict(zip(text_ids, flags, strict=True))).to_numpy() for flags in (side.parsed, side.cut)
    )
    further = rows.drop(columns=["image_id", "text_id", "kind"]).reset_index(drop=True)
    return pd.concat([scores, further], axis=1).assign(parsed=parsed, cut=cut)
