"""The visual prototypes of a run: fitted, measured and written."""

from pathlib import Path

import pandas as pd

from vialign.backbone import load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.disentangle import save_visual
from vialign.disentangle.stage import fit_and_measure_visual, read_visual
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.language import QUALITY


@within_memory("visual.batch")
def fit_prototypes(run: Run) -> None:
    """The visual prototypes of a run: fitted, measured and written."""
    device = device_of(run.config)
    backbone = load_backbone(run.config.backbone, run.config.seed).to(device)
    inputs = read_visual(
        backbone,
        read_table(run.input.images, IMAGES),
        read_table(run.input.objects, OBJECTS),
        image_folders(run.config.data, Path(run.input.images).parent),
        {split: read_images(run.input[split]) for split in ("train", "selection")},
        read_texts(run.input.texts),
        run.config.visual,
        run.config.seed,
    )
    visual, measured, log = fit_and_measure_visual(
        inputs, run.config.visual, domain=run.config.name, seed=run.config.seed, device=device
    )
    print(pd.concat([log.head(1), log.iloc[len(log) // 2 : len(log) // 2 + 1], log.tail(1)]).to_string())
    print(f"{visual.foreground} atoms, {visual.prototypes} prototypes an image, {len(log)} steps")
    save_visual(visual, run.output.weights, run.provenance)
    write_table(measured.frame(), QUALITY, run.output.quality, run.provenance)
