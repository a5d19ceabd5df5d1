"""`vialign export`: a folder that stands alone, nothing half-written, and a card that says what was measured."""

import json

import pytest
import yaml
from typer.testing import CliRunner

import vialign
from explained import FOLDER, finished_run
from vialign.cli.app import app


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    run = finished_run()[0]
    path = tmp_path_factory.mktemp("export") / "config.yaml"
    path.write_text(yaml.safe_dump(run.config.model_dump(mode="json")), encoding="utf-8")
    return path


def export(settings, *arguments):
    return CliRunner().invoke(app, ["export", str(FOLDER / "results"), "--config", str(settings), *map(str, arguments)])


def test_a_folder_is_written_and_loads(settings, tmp_path):
    result = export(settings, "--out", tmp_path / "out", "--with-backbone", "--seed", 1)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/out: vialign, ready for vialign.load(" in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "config.json", "method.safetensors", "visual.safetensors", "text.safetensors"} <= names
    assert {"calibration.parquet", "pipeline", "explain-tiny.json", "merges.txt", "backbone.safetensors"} <= names
    said = json.loads((tmp_path / "out/config.json").read_text())
    assert said["seed"] == 1 and str(tmp_path.parent) not in json.dumps(said) and str(FOLDER) not in json.dumps(said)
    card = (tmp_path / "out/README.md").read_text()
    assert "## Supervision" in card and "## Limits" in card and "Nothing was measured of it" in card
    assert vialign.load(tmp_path / "out").about.seed == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "lora"), "no such training; there are frozen, vialign"),
        (("--seed", 9), "no such training; it was trained with seeds 0, 1"),
        (("--fold",), "fold vialign: not exact: the correction changes an image's embedding"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(settings, tmp_path, arguments, message):
    result = export(settings, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1 and message in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_results_without_a_config_say_so(tmp_path):
    result = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 and "the run did not end; name its configuration" in result.stderr
