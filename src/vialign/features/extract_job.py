"""The features of one split, or of one shard of it."""

import sys
from pathlib import Path

import pandas as pd

from vialign.backbone import Backbone, load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.features import extract_images, extract_texts
from vialign.features.extract import stored_rows
from vialign.files.artifacts import read_provenance, read_table
from vialign.files.shards import Shard
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.tables.language import TEXTS


@within_memory("features.batch")
def extract_split(run: Run) -> None:
    """The features of one split, or of the job's shard of it."""
    backbone = load_backbone(run.config.backbone, run.config.seed).to(device_of(run.config))
    _extract_images(run, backbone)
    texts, first = _own(run, read_table(run.input.texts, TEXTS))
    cut = extract_texts(backbone, texts, run.output.texts, **_sizes(run), provenance=run.provenance, first=first)
    if cut:
        most = backbone.context_length
        print(f"vialign: {cut} of {len(texts)} texts are longer than {most} tokens and are cut off", file=sys.stderr)


@within_memory("features.batch")
def extract_split_images(run: Run) -> None:
    """The features of a split that has no texts, or of the job's shard of it."""
    _extract_images(run, load_backbone(run.config.backbone, run.config.seed).to(device_of(run.config)))


def _own(run: Run, rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Of the rows of a split those of the job's shard, which fill whole files, and the number of the first of these."""
    size = stored_rows(**_sizes(run))
    own = Shard.of_job(run.wildcards).rows(len(rows), size)
    return rows.iloc[own.start : own.stop], own.start // size


def _sizes(run: Run) -> dict[str, int]:
    return {"batch": run.config.features.batch, "shard": run.config.features.shard}


def _extract_images(run: Run, backbone: Backbone) -> None:
    everything = read_table(run.input.images, IMAGES)
    images, first = _own(run, everything[everything["split"] == run.wildcards.split])
    extract_images(
        backbone,
        images,
        image_folders(run.config.data, Path(run.input.images).parent),
        run.output.images,
        read_provenance(run.input.readout)["readout"],
        **_sizes(run),
        pixels=run.config.features.pixels,
        provenance=run.provenance,
        first=first,
    )
