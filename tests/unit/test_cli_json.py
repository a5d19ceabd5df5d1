"""`--json`: a table for programs, and nothing else on stdout; `--html`: the same as a page."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from explained import FOLDER, finished_run
from vialign.aligner.export import aligner_of_run, write_export
from vialign.catalogue import METHODS
from vialign.cli.app import app
from vialign.files.artifacts import read_table, write_table
from vialign.results import NAMED
from vialign.tables.signal import TOOLKIT_SCORES, TRUST
from vialign.tables.uses import USES


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def rows_of(*words):
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json") / "exported"
    write_export(aligner_of_run(finished_run()[0].config, "vialign"), folder, with_backbone=False, folded=False)
    return folder


def data():
    return "--images", FOLDER / "shapes/images", "--captions", FOLDER / "shapes/captions.csv"


def test_an_exported_folder_scores_without_a_model_named_as_text_json_and_page(exported, tmp_path):
    call_ = ("signal", "score", "--units", exported, *data(), "--out", tmp_path / "scores.parquet")
    rows = rows_of(*call_, "--html", tmp_path / "scores.html")
    table = read_table(tmp_path / "scores.parquet", TOOLKIT_SCORES)
    assert len(rows) == len(table) == 200 and set(rows[0]) == set(TOOLKIT_SCORES.columns)
    assert [row["s_local"] for row in rows] == pytest.approx(table["s_local"].tolist())
    page = (tmp_path / "scores.html").read_text()
    assert "Scores of every pair" in page and 'href="./scores.parquet"' in page and "pairs of 40 images" in page
    text = call(*call_)
    assert text.exit_code == 0 and text.stdout.splitlines()[-1] == f"{tmp_path / 'scores.parquet'}: written"


def test_trust_is_told_as_json_and_page(exported, tmp_path):
    call_ = ("signal", "trust", "--units", exported, *data(), "--out", tmp_path / "trust.csv")
    rows = rows_of(*call_, "--trust-images", 20, "--html", tmp_path / "trust.html")
    assert set(rows[0]) == set(TRUST.columns)
    assert "When to trust an answer" in (tmp_path / "trust.html").read_text()


def test_a_model_must_be_named_where_no_folder_names_it(tmp_path):
    result = call("signal", "score", *data(), "--out", tmp_path / "s.parquet")
    assert result.exit_code == 1 and "--model and --pretrained: name the model" in result.stderr.splitlines()[-1]


def test_methods_provenance_and_sources_are_told_as_json(exported, tmp_path):
    assert {row["name"] for row in rows_of("methods")} == set(METHODS)
    tables = rows_of("results", "list")
    assert [row["name"] for row in tables] == list(NAMED)
    assert {row["file"] for row in tables if row["rule"] is None} == {"analyse/failure_review.parquet"}
    assert all(f"| `{row['file']}` | `{row['table']}` |" in call("results", "list").stdout for row in tables[::20])
    assert "fit" in rows_of("results", "provenance", exported / "calibration.parquet")
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"name": "x"}))
    assert rows_of("data", "check", config)[0]["name"] == "scenes"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_json_is_json_on_a_console_of_any_encoding(tmp_path, encoding):
    name, made = "caf\u00e9 \u2192 \U0001f600", tmp_path / "made.parquet"
    write_table(USES.empty(), USES, made, {"rule": name})
    benchmarks = ("benchmarks", "--data", tmp_path / "\u00e9")
    (tmp_path / "\u00e9/vsr").mkdir(parents=True)
    for words, wanted in ((("results", "provenance", made), name), (benchmarks, str(tmp_path / "\u00e9"))):
        command = [sys.executable, "-m", "vialign.cli.app", *map(str, words), "--json"]
        environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
        result = subprocess.run(command, capture_output=True, env=environment, check=True)
        told = json.loads(result.stdout.decode("ascii"))
        assert wanted in json.dumps(told, ensure_ascii=False), told


def test_no_colour_is_written_where_it_is_not_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for words in (("--help",), ("signal", "score", "--help"), ("methods", "--nothing")):
        result = CliRunner().invoke(app, list(words), color=True)
        assert "\x1b[3" not in result.output and "\x1b[9" not in result.output, words
