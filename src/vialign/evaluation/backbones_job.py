"""The other demo backbone beside the run's own: both frozen, on the same test items."""

import tempfile
from pathlib import Path

import pandas as pd

from vialign.backbone import Backbone, load_backbone
from vialign.data.folders import image_folders
from vialign.device import device_of, within_memory
from vialign.disentangle.encoded import no_units, write_encoded
from vialign.disentangle.types import in_blocks
from vialign.evaluation.compare import comparison_table, published_tag_rules, results_table
from vialign.evaluation.conventions import compared_outcomes
from vialign.evaluation.run import evaluate
from vialign.features import extract_images, extract_texts
from vialign.files.artifacts import read_table, write_table
from vialign.methods.baselines.frozen import Frozen
from vialign.methods.inputs import read_split
from vialign.stage import Run
from vialign.tables.data import CHOICES, IMAGES, QUESTIONS
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, RESULTS
from vialign.tables.language import TEXTS


@within_memory("features.batch, evaluation.gallery_batch")
def compare_backbones(run: Run) -> None:
    """RESULTS of both backbones, and COMPARISONS of the other with the run's own, paired by item.

    In place of a method stands the checkpoint's name.
    """
    config, other, own = run.config, str(run.params.other), str(run.config.backbone.checkpoint)
    backbone = load_backbone(config.backbone.model_copy(update={"checkpoint": other}), config.seed)
    backbone = backbone.to(device_of(config))
    frames = [read_table(run.input.outcomes, OUTCOMES).assign(method=own)]
    frames += [frozen_outcomes(run, backbone, split).assign(method=other) for split in config.test_splits]
    outcomes, level = pd.concat(frames, ignore_index=True), config.evaluation.level
    results = results_table(outcomes, level, published_tag_rules())
    comparisons = comparison_table(compared_outcomes(outcomes), [(other, own)], level)
    write_table(results, RESULTS, run.output.results, run.provenance)
    write_table(comparisons, COMPARISONS, run.output.comparisons, run.provenance)


def frozen_outcomes(run: Run, backbone: Backbone, split: str) -> pd.DataFrame:
    """OUTCOMES of a backbone as it is on one test split of the run. Its features lie on disk meanwhile."""
    config, texts = run.config, read_table(run.input[f"{split}_texts"], TEXTS)
    images = read_table(run.input.images, IMAGES)
    images, folders = images[images["split"] == split], image_folders(config.data, Path(run.input.images).parent)
    sizes = {"batch": config.features.batch, "shard": config.features.shard}
    with tempfile.TemporaryDirectory(prefix="vialign-") as folder:
        places = [Path(folder) / name for name in ("texts.parquet", "images", "texts", "encoded.safetensors")]
        write_table(texts, TEXTS, places[0], {})
        extract_images(backbone, images, folders, places[1], "final", **sizes, pixels="decode", provenance={})
        extract_texts(backbone, texts, places[2], **sizes, provenance={})
        prototypes, phrases = no_units(len(images), len(texts), backbone.dimension)
        write_encoded(in_blocks(prototypes), in_blocks(phrases), (len(images), len(texts)), places[3], {})
        return evaluate(
            Frozen(backbone.logit_scale, config.training.negatives).to(backbone.device),
            read_split(*places, device=backbone.device),
            read_table(run.input.choices, CHOICES),
            read_table(run.input.questions, QUESTIONS),
            split,
            "frozen",
            config.training.seeds[0],
            config.evaluation.gallery_batch,
        )
