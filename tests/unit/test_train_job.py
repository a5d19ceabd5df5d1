import io
import sys

import pytest

from planted import Vocabulary, planted_world
from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.files.artifacts import write_table
from vialign.tables.data import IMAGES
from vialign.training.job import SPLIT_PARTS, TrainingJob, read_job_split, run_job


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
