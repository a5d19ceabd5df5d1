"""The features of one split."""

import sys
from pathlib import Path

from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.features import extract_images, extract_texts
from vialign.files.artifacts import read_provenance, read_table
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.tables.language import TEXTS


@within_memory("features.batch")
def extract_split(run: Run) -> None:
    """The features of one split."""
    backbone = load_backbone(run.config.backbone, run.config.seed).to(device_of(run.config))
    images = read_table(run.input.images, IMAGES)
    sizes = {"batch": run.config.features.batch, "shard": run.config.features.shard}
    extract_images(
        backbone,
        images[images["split"] == run.wildcards.split],
        image_folders(run.config.data, Path(run.input.images).parent),
        run.output.images,
        read_provenance(run.input.readout)["readout"],
        **sizes,
        pixels=run.config.features.pixels,
        provenance=run.provenance,
    )
    texts = read_table(run.input.texts, TEXTS)
    cut = extract_texts(backbone, texts, run.output.texts, **sizes, provenance=run.provenance)
    if cut:
        most = backbone.context_length
        print(f"vialign: {cut} of {len(texts)} texts are longer than {most} tokens and are cut off", file=sys.stderr)
