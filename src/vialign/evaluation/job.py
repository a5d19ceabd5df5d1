"""One finished method on every test split."""

from pathlib import Path

import pandas as pd

from vialign.data.folders import image_folders
from vialign.evaluation.run import evaluate, reranking_table
from vialign.files.artifacts import read_table, write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.checkpoint import load_best
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.data import CHOICES, IMAGES, QUESTIONS
from vialign.tables.evaluation import OUTCOMES, RERANKING


def evaluate_method(run: Run) -> None:
    """One finished method on every test split."""
    config, name, seed = run.config, run.wildcards.method, int(run.wildcards.seed)
    settings = config.evaluation
    backbone = open_backbone(name, config, run.input[f"{config.test_splits[0]}_image_features"])
    method = build_method(name, config, backbone, read_calibration(run.input.calibration), seed)
    load_best(method, run.input.checkpoint)
    images = read_table(run.input.images, IMAGES)
    choices, questions = read_table(run.input.choices, CHOICES), read_table(run.input.questions, QUESTIONS)
    frames, agreements = [], [RERANKING.empty()]
    for split in config.test_splits:
        data = read_split(
            *(run.input[f"{split}_{part}"] for part in ("texts", "image_features", "text_features", "encoded")),
            needs=method.needs,
            images=images,
            folders=image_folders(config.data, Path(run.input.images).parent),
            backbone=backbone,
            regions=run.input.get(f"{split}_regions"),
        )
        size, k, checked = settings.gallery_batch, settings.rerank, settings.rerank_check
        frames.append(evaluate(method, data, choices, questions, split, name, seed, size, rerank=k))
        if k is not None:
            agreements.append(reranking_table(method, data, split, name, seed, k=k, queries=checked, batch=size))
    write_table(pd.concat(frames), OUTCOMES, run.output.outcomes, run.provenance)
    write_table(pd.concat(agreements), RERANKING, run.output.reranking, run.provenance)
