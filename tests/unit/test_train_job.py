import io
import sys

import pytest

from vialign.config import Config
from vialign.errors import UserError
from vialign.train_job import TrainingJob, run_job


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
