import io
import sys

import pytest
import torch

from planted import Vocabulary, planted_world
from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.files.artifacts import read_table, write_table
from vialign.methods.baselines.labclip import LinearAlignment
from vialign.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vialign.tables.data import IMAGES
from vialign.tables.training import AVERAGES
from vialign.training.job import SPLIT_PARTS, TrainingJob, average_job, read_job_split, run_job


def test_a_failure_in_one_of_several_processes_is_told_in_the_log_and_named(tmp_path, monkeypatch):
    """The log is a stage's: an object with `write` alone, which no process can be given as a file."""
    config = Config.model_validate({"training": {"processes": 2}})
    job = TrainingJob(
        config=config,
        method="frozen",
        seed=0,
        until="early",
        inputs={"train_image_features": str(tmp_path / "missing")},
        outputs={"checkpoint": str(tmp_path / "early.safetensors")},
        provenance={"config_digest": "0"},
        threads=2,
    )
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with pytest.raises(UserError, match="training frozen, seed 0: one of 2 processes failed"):
        run_job(job)
    assert f"{tmp_path}/missing" in log.getvalue()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_negatives_are_left_out_of_the_splits_where_they_have_no_weight(tmp_path, monkeypatch, weight):
    data = planted_world(Vocabulary(8), 6, 0)
    monkeypatch.setattr("vialign.methods.inputs.read_split", lambda *parts, **options: data)
    write_table(IMAGES.empty(), IMAGES, tmp_path / "images.parquet", {})
    job = TrainingJob(
        config=Config.model_validate({"training": {"negatives": weight}}),
        method="frozen",
        seed=0,
        until="early",
        inputs={"images": str(tmp_path / "images.parquet"), **{f"train_{part}": part for part in SPLIT_PARTS}},
        outputs={},
        provenance={},
    )
    found = read_job_split(job, "train", frozenset(), None)
    assert found.image_pooled is data.image_pooled and data.negatives.shape[1] > 0
    assert found.negatives.shape == (len(data.texts), 0 if weight == 0 else data.negatives.shape[1])


def test_an_average_is_chosen_on_selection_and_kept_as_the_best_weights(tmp_path, monkeypatch):
    """The tuned map turns every caption away from its image, so the frozen weights are best, and the halves between."""
    data = planted_world(Vocabulary(8), 6, 0)
    monkeypatch.setattr("vialign.training.job.read_job_split", lambda *given: data)
    monkeypatch.setattr("vialign.methods.build.open_backbone", lambda *given: None)
    built = LinearAlignment(data.image_pooled.shape[1], 20.0, 1.0)
    monkeypatch.setattr("vialign.methods.build.build_method", lambda *given: built)
    monkeypatch.setattr("vialign.signal.calibration.read_calibration", lambda path: None)
    tuned = {"map": -torch.eye(data.image_pooled.shape[1])}
    save_checkpoint(Checkpoint(9, tuned, tuned, 0.5, 4, {}), tmp_path / "tuned.safetensors", {})
    job = TrainingJob(
        config=Config(),
        method="labclip-wise",
        seed=0,
        until="final",
        inputs={"trained": str(tmp_path / "tuned.safetensors"), "calibration": "", "selection_image_features": ""},
        outputs={"checkpoint": str(tmp_path / "final.safetensors"), "averages": str(tmp_path / "averages.parquet")},
        provenance={},
    )
    average_job(job)
    table = read_table(tmp_path / "averages.parquet", AVERAGES).set_index("share")
    assert table.index.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert table["score"][0.0] > table["score"][1.0] and table["chosen"].sum() == 1 and table["chosen"][0.0]
    kept = load_checkpoint(tmp_path / "final.safetensors")
    assert (kept.step, kept.best_step, kept.best_score) == (9, 4, table["score"][0.0])
    torch.testing.assert_close(kept.best["map"], torch.eye(len(tuned["map"])))
