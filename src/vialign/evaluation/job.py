"""One finished method on every test split."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.evaluation.run import evaluate, reranking_table
from vialign.files.artifacts import read_table, write_table
from vialign.methods.build import build_method, open_backbone
from vialign.methods.checkpoint import load_best
from vialign.methods.inputs import read_split
from vialign.signal.calibration import read_calibration
from vialign.stage import Run
from vialign.tables.data import CHOICES, IMAGES, QUESTIONS
from vialign.tables.evaluation import OUTCOMES, RANKS, RERANKING

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.features import BackboneFacts


@within_memory("evaluation.gallery_batch")
def evaluate_method(run: Run) -> None:
    """One finished method on every test split, once for each of the rule's seeds."""
    config = run.config
    backbone = open_backbone(run.wildcards.method, config, run.input[f"{config.test_splits[0]}_image_features"])
    for number, seed in enumerate(run.params.seeds):
        checkpoint, outcomes, reranking, ranks = (
            str(files if isinstance(files, str) else files[number])
            for files in (run.input.checkpoint, run.output.outcomes, run.output.reranking, run.output.ranks)
        )
        found, agreements, ranked = _evaluated(run, backbone, checkpoint, seed)
        provenance = {**run.provenance, "wildcard_seed": str(seed)}
        write_table(found, OUTCOMES, outcomes, provenance)
        write_table(agreements, RERANKING, reranking, provenance)
        write_table(ranked, RANKS, ranks, provenance)


def _evaluated(
    run: Run, backbone: "Backbone | BackboneFacts", checkpoint: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """OUTCOMES, RERANKING and RANKS of the training with one seed."""
    config, name, settings = run.config, run.wildcards.method, run.config.evaluation
    method = build_method(name, config, backbone, read_calibration(run.input.calibration), seed)
    device = device_of(config)
    load_best(method, checkpoint).to(device)
    images = read_table(run.input.images, IMAGES)
    choices, questions = read_table(run.input.choices, CHOICES), read_table(run.input.questions, QUESTIONS)
    frames, agreements, ranks = [], [RERANKING.empty()], [RANKS.empty()]
    for split in config.test_splits:
        data = read_split(
            *(run.input[f"{split}_{part}"] for part in ("texts", "image_features", "text_features", "encoded")),
            needs=method.needs,
            images=images,
            folders=image_folders(config.data, Path(run.input.images).parent),
            backbone=backbone,
            regions=run.input.get(f"{split}_regions"),
            device=device,
        )
        size, k, checked = settings.gallery_batch, settings.rerank, settings.rerank_check
        frames.append(evaluate(method, data, choices, questions, split, name, seed, size, rerank=k, ranks=ranks))
        if k is not None:
            agreements.append(reranking_table(method, data, split, name, seed, k=k, queries=checked, batch=size))
    return pd.concat(frames), pd.concat(agreements), pd.concat(ranks)
