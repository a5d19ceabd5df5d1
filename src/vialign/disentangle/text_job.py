"""The phrase units of a run: fitted, measured and written."""

import pandas as pd

from vialign.backbone import load_backbone
from vialign.device import device_of, within_memory
from vialign.disentangle import encode_images, load_visual, save_text
from vialign.disentangle.stage import fit_and_measure_text, measure_typos
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table, write_table
from vialign.language.gold import gold_units
from vialign.language.pipeline import load_pipeline
from vialign.stage import Run
from vialign.tables.data import CAPTIONS
from vialign.tables.language import QUALITY, SPANS, TEXTS, UNITS


@within_memory("text.batch")
def fit_units(run: Run) -> None:
    """The phrase units of a run: fitted, measured and written."""
    device = device_of(run.config)
    visual = load_visual(run.input.visual).to(device)
    texts = {split: read_table(run.input[f"{split}_texts"], TEXTS) for split in ("train", "selection")}
    images = read_images(run.input.train_images)
    gold = gold_units(read_table(run.input.captions, CAPTIONS), texts["selection"])
    backbone = load_backbone(run.config.backbone, run.config.seed).to(device)
    nlp = load_pipeline(run.input.pipeline)
    domain, seed = run.config.name, run.config.seed
    text, measured, log = fit_and_measure_text(
        encode_images(visual, images),
        list(images.ids),
        texts,
        {split: read_texts(run.input[f"{split}_features"]) for split in texts},
        {split: read_table(run.input[f"{split}_units"], UNITS) for split in texts},
        gold,
        run.config.text,
        backbone=backbone,
        nlp=nlp,
        domain=domain,
        seed=seed,
        device=device,
    )
    spans = measure_typos(text, texts["selection"], gold, backbone, nlp, run.config.text, domain=domain, seed=seed)
    print(pd.concat([log.head(1), log.iloc[len(log) // 2 : len(log) // 2 + 1], log.tail(1)]).to_string())
    save_text(text, run.output.weights, run.provenance)
    write_table(measured.frame(), QUALITY, run.output.quality, run.provenance)
    write_table(spans, SPANS, run.output.spans, run.provenance)
