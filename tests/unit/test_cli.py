import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import vialign.config
from vialign.cli.app import app
from vialign.config.experiment import Config, digest
from vialign.data.base import image_table
from vialign.data.benchmarks.aro_order import read_order_file
from vialign.files.artifacts import write_table
from vialign.tables.data import CAPTIONS, IMAGES, PROBLEMS

run = CliRunner().invoke


def test_a_good_config_is_valid_with_its_digest(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: scenes\n")
    result = run(app, ["config", "check", str(path)])
    assert result.exit_code == 0
    assert result.stdout == f"scenes: valid, digest {digest(Config())}\n"


def test_a_config_whose_run_would_not_begin_is_not_valid(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {dataset: coco}\n")
    result = run(app, ["config", "check", str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("vialign: config: data.folder is not set; coco needs the folder it lies in")


def test_a_bad_config_is_one_line_and_status_one(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("trainin: {}\n")
    result = run(app, ["config", "check", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    said = "unknown key `trainin`; did you mean `training`? remove it or check its spelling"
    assert result.stderr == f"vialign: config: {path}: {said}\n"


def _raise(error):
    raise error


def test_an_error_that_nobody_foresaw_is_one_line_with_its_place_and_its_traceback_lies_in_a_file(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("vialign.cli.app.read_config", lambda *files: _raise(KeyError("a\nkey")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("VIALIGN_TRACEBACK", raising=False)
    result = run(app, ["config", "check", "c.yaml"])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    found = re.search(r"unforeseen error at app.py, line \d+: KeyError: .*\((/.*\.log)\)$", result.stderr.strip())
    assert found and "Traceback" in Path(found[1]).read_text() and "in config_check" in Path(found[1]).read_text()


def test_the_traceback_is_shown_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("vialign.cli.app.read_config", lambda *files: _raise(ZeroDivisionError()))
    monkeypatch.setenv("VIALIGN_TRACEBACK", "1")
    stderr = run(app, ["config", "check", "c.yaml"]).stderr
    assert "Traceback" in stderr and "vialign: unforeseen error at app.py" in stderr.splitlines()[-1]


def test_an_error_of_the_system_names_the_file_and_the_reason_only(monkeypatch):
    monkeypatch.setattr(
        "vialign.cli.app.read_config", lambda *files: _raise(PermissionError(13, "Permission denied", "/x"))
    )
    assert run(app, ["config", "check", "c.yaml"]).stderr == "vialign: /x: Permission denied\n"


def test_overlays_are_checked_together(tmp_path):
    one, two = tmp_path / "a.yaml", tmp_path / "b.yaml"
    one.write_text("training: {early_steps: 50}\n")
    two.write_text("training: {steps: 40}\n")
    assert run(app, ["config", "check", str(one)]).exit_code == 0
    assert "early_steps must not exceed" in run(app, ["config", "check", str(one), str(two)]).stderr


def test_the_schema_is_json_and_closed():
    schema = json.loads(run(app, ["config", "schema"]).stdout)
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Config.model_fields)


def test_provenance_is_printed(tmp_path):
    path = tmp_path / "p.parquet"
    write_table(PROBLEMS.empty(), PROBLEMS, path, {"rule": "prepare_data", "seed": "0"})
    result = run(app, ["results", "provenance", str(path)])
    assert result.stdout.splitlines() == ["rule: prepare_data", "seed: 0", "table: problems"]


@pytest.mark.parametrize(("write", "message"), [(False, "no such file"), (True, "carries no provenance")])
def test_a_file_without_provenance_is_one_line(tmp_path, write, message):
    path = tmp_path / "p.parquet"
    if write:
        pd.DataFrame({"a": [1]}).to_parquet(path)
    result = run(app, ["results", "provenance", str(path)])
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_only_some_benchmarks_come_packed_and_the_file_must_be_there(tmp_path):
    assert "winoground, bivlc, colorswap do" in run(app, ["data", "unpack", "vqa", str(tmp_path)]).stderr
    result = run(app, ["data", "unpack", "winoground", str(tmp_path)])
    assert result.exit_code == 1 and "has no test-*.parquet" in result.stderr


def test_order_perturbations_are_frozen_once(tmp_path, monkeypatch):
    images = image_table([("a", "test", "a.png", 4, 4), ("b", "train", "b.png", 4, 4)])
    told = [("a#0", "a", "a red dog above a small cat", None), ("b#0", "b", "a blue dog", None)]
    write_table(images, IMAGES, tmp_path / "images.parquet", {})
    write_table(pd.DataFrame(told, columns=list(CAPTIONS.columns)), CAPTIONS, tmp_path / "captions.parquet", {})
    tags = {"a": "DT", "above": "IN", "red": "JJ", "small": "JJ"}
    monkeypatch.setattr("vialign.language.pipeline.load_pipeline", lambda folder: None)
    monkeypatch.setattr(
        "vialign.language.pipeline.tag_texts",
        lambda nlp, texts: [[(word, tags.get(word, "NN")) for word in text.split()] for text in texts],
    )
    output = tmp_path / "aro_coco_order.jsonl"
    files = [str(tmp_path / "captions.parquet"), str(tmp_path / "images.parquet"), str(tmp_path), str(output)]
    assert run(app, ["data", "order", *files]).exit_code == 0
    order = read_order_file(output)
    assert order.name == "aro_coco_order" and order.rows["image_id"].tolist() == ["a"]
    again = run(app, ["data", "order", *files])
    assert again.exit_code == 1 and "written once" in again.stderr


def test_the_package_of_the_command_line_is_a_program_and_the_configuration_is_read_from_its_package(repository):
    told = subprocess.run(
        [sys.executable, "-m", "vialign.cli", "config", "check", str(repository / "config.yaml")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
    )
    assert told.stdout.strip()
    assert vialign.config.read_config(repository / "config.yaml").name == "scenes"
    with pytest.raises(AttributeError, match="no attribute 'red_config'"):
        vialign.config.red_config  # noqa: B018
