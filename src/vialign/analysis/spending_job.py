"""What the gain is worth at a share of its cost, as a job of the workflow."""

import pandas as pd

from vialign.evaluation.run import score_matrix
from vialign.evaluation.spending import spending_outcomes, spending_table
from vialign.files.artifacts import write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.checkpoint import load_best
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.evaluation import SPENDING
from vialign.training.records import training_of


def spend(run: Run) -> None:
    """The chosen combination with exact scores for some pairs of the split, and the frozen cosine for the rest."""
    config, split = run.config, run.params.split
    calibration = read_calibration(run.input.calibration)
    data, frames = None, []
    for path in run.input.checkpoints:
        name, seed = training_of(path)
        method = build_method(name, config, open_backbone(name, config, run.input.image_features), calibration, seed)
        load_best(method, path)
        if data is None:
            parts = (run.input[part] for part in ("texts", "image_features", "text_features", "encoded"))
            data = read_split(*parts, needs=method.needs)
        exact = score_matrix(method, data, config.evaluation.gallery_batch)
        cheap = data.image_pooled @ data.text_pooled[data.captions].T
        owners, rows = data.image_of_text[data.captions], data.texts.iloc[data.captions.numpy()]
        frames.append(spending_outcomes(exact, cheap, owners, data.image_ids, rows, split, seed))
    table = spending_table(pd.concat(frames, ignore_index=True), run.params.method, config.evaluation.level)
    write_table(table, SPENDING, run.output[0], run.provenance)
