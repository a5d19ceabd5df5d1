import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from vialign.artifacts import write_table
from vialign.cli import app
from vialign.config import Config, digest
from vialign.tables import PROBLEMS

run = CliRunner().invoke


def test_a_good_config_is_valid_with_its_digest(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: scenes\n")
    result = run(app, ["config", "check", str(path)])
    assert result.exit_code == 0
    assert result.stdout == f"scenes: valid, digest {digest(Config())}\n"


def test_a_bad_config_is_one_line_and_status_one(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("trainin: {}\n")
    result = run(app, ["config", "check", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "vialign: config: unknown key `trainin`; remove it or check its spelling\n"


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
