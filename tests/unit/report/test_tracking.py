"""Tracking: off by default, through the common calls of each library, and a missing one is one line."""

import sys
import types
from contextlib import contextmanager

import pandas as pd
import pytest

from vialign.config.evaluation import ReportConfig
from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.files.artifacts import write_table
from vialign.report import tracking
from vialign.report.tracking import track_run
from vialign.tables.evaluation import RESULTS
from vialign.tables.training import TRAINING_LOG


@pytest.fixture
def results(tmp_path):
    columns = TRAINING_LOG.columns
    for seed in (0, 1):
        rows = [{name: (step if name == "step" else 0.5 + seed) for name in columns} for step in (0, 10)]
        frame = pd.DataFrame(rows).astype({"step": int})
        write_table(frame, TRAINING_LOG, tmp_path / f"train/lora/{seed}/log.parquet", {})
    row = {"method": "lora", "benchmark": "test/x", "measure": "r1", "convention": "micro", "value": 0.25}
    row |= {"low": 0.2, "high": 0.3, "items": 9, "seeds": 2, "ties": 0}
    write_table(
        pd.DataFrame([row, {**row, "convention": "lenient"}]), RESULTS, tmp_path / "compare/results.parquet", {}
    )
    return tmp_path


def config(kind):
    return Config(name="mine", report=ReportConfig(tracking=kind))


def fake(monkeypatch, name, **functions):
    """A module of that name that writes down its calls."""
    module = types.ModuleType(name)
    module.__spec__ = types.SimpleNamespace(name=name)
    for function, call in functions.items():
        setattr(module, function, call)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_losses_by_step_then_results(monkeypatch, results, name):
    said = []
    fake(
        monkeypatch,
        name,
        init=lambda **given: said.append(("init", given)),
        log=lambda numbers, step: said.append((step, numbers)),
        finish=lambda: said.append("finish"),
    )
    track_run(config(name), results)
    first, *steps, last = said
    assert first[1]["project"] == "vialign" and first[1]["name"] == "mine" and "config_digest" in first[1]["config"]
    assert [step for step, _ in steps] == [0, 10, 11] and last == "finish"
    assert steps[0][1]["lora/0/loss"] == 0.5 and steps[0][1]["lora/1/loss"] == 1.5
    assert steps[2][1] == {"lora/test/x/r1": 0.25}


def test_mlflow_has_calls_of_its_own(monkeypatch, results):
    said = []

    @contextmanager
    def start_run(run_name):
        said.append(run_name)
        yield
        said.append("end")

    fake(
        monkeypatch,
        "mlflow",
        set_experiment=said.append,
        start_run=start_run,
        log_params=lambda values: said.append(values["seed"]),
        log_metrics=lambda numbers, step: said.append(step),
    )
    track_run(config("mlflow"), results)
    assert said == ["vialign", "mine", 0, 0, 10, None, "end"]


def test_nothing_is_imported_unless_it_is_asked_for(monkeypatch, results):
    monkeypatch.setattr(tracking, "import_module", lambda name: pytest.fail(name))
    track_run(config("none"), results)
    assert Config().report.tracking == "none"
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="report.tracking: wandb is not installed; add it with `pip install wandb`"):
        track_run(config("wandb"), results)
