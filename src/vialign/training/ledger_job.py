"""The budget ledger of a run."""

from pathlib import Path

import pandas as pd

from vialign.backbone import load_backbone
from vialign.budget import ledger_text
from vialign.data.folders import image_folders
from vialign.device import CPU, device_of, within_memory
from vialign.disentangle import load_text, load_visual
from vialign.files.artifacts import read_provenance, read_table, write_table
from vialign.language.domains import out_of_domain_texts
from vialign.language.pipeline import load_pipeline
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.data import IMAGES
from vialign.tables.gates import BUDGET
from vialign.tables.language import TEXTS
from vialign.training.efficiency import measure_run, one_off_rows


@within_memory("budget.batch, budget.reference_batch")
def measure_ledger(run: Run) -> None:
    """The budget ledger of a run."""
    config = run.config
    texts = read_table(run.input.texts, TEXTS)
    captions = texts.loc[texts["kind"] == "caption", "text"].tolist()
    foreign, what = out_of_domain_texts(captions, config.language, max(config.text.typos), config.seed)
    print(f"out of domain: {what}")
    device = device_of(config)
    if device.type == "mps":  # which counts no peak of its memory
        device = CPU
    table = measure_run(
        load_backbone(config.backbone, config.seed).to(device),
        read_provenance(run.input.readout)["readout"],
        load_visual(run.input.visual).to(device),
        load_text(run.input.text).to(device),
        load_pipeline(run.input.pipeline),
        read_calibration(run.input.calibration),
        read_table(run.input.images, IMAGES),
        texts,
        foreign,
        image_folders(config.data, Path(run.input.images).parent),
        config,
        methods=run.params.methods,
        at_reference=run.params.at_reference,
    )
    fits = {part: getattr(run.input, f"{part}_cost") for part in ("language", "visual", "text", "calibration")}
    table = pd.concat([table, one_off_rows(fits, config.backbone.architecture)], ignore_index=True)
    print(ledger_text(table))
    write_table(table, BUDGET, run.output[0], run.provenance)
