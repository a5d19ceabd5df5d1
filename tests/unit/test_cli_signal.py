import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from captioned import tiny_model
from vialign.cli.app import app
from vialign.files.artifacts import read_table
from vialign.tables.signal import (
    DIAGNOSIS,
    STRESS,
    TOOLKIT_IMAGES,
    TOOLKIT_SCORES,
    TRUST,
    TRUST_CURVES,
    TRUST_DIRECTIONS,
)
from vialign.toolkit import draw_example

SETTINGS = """
visual: {steps: 5, batch: 16, atoms: 12, background: 2, prototypes: 4}
text: {steps: 5, batch: 16}
language: {sentences: 200, epochs: 1}
signal:
  {pairs: 100, permutations: 999, bootstrap: 100, folds: 3, severities: [5], epsilons: [8], attack_steps: 1,
   attack_restarts: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    draw_example(folder / "shapes", images=64)
    tiny_model(folder, "cli-tiny")
    (folder / "quick.yaml").write_text(SETTINGS)
    result = invoke(folder, "fit", "--out", folder / "units", "--config", folder / "quick.yaml", "--fit-images", 20)
    assert result.exit_code == 0, result.output
    return folder


def invoke(folder, command, *arguments, model="cli-tiny", pretrained="random"):
    given = ["--model", model, "--definition", folder / f"{model}.json", "--pretrained", pretrained]
    given += ["--images", folder / "shapes" / "images", "--captions", folder / "shapes" / "captions.csv"]
    return CliRunner().invoke(app, ["signal", command, *map(str, [*given, *arguments])])


def refused(result):
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("vialign: ")
    return lines[-1]


def test_score_works_alone_and_says_that_it_fits_first(folder, tmp_path):
    out = tmp_path / "new" / "scores.parquet"
    settings = ("--config", folder / "quick.yaml", "--fit-images", 20, "--save-units", tmp_path / "units")
    result = invoke(folder, "score", "--out", out, *settings)
    assert result.exit_code == 0, result.output
    assert "no --units given: fitting them on a part of these images first" in result.stderr
    assert "320 pairs of 64 images in" in result.stdout and "texts had no phrase" in result.stdout
    parts = read_table(out, TOOLKIT_SCORES)["used_for"].value_counts()
    assert parts.to_dict() == {"fit": 100, "calibration": 80, "none": 140}
    assert len(read_table(tmp_path / "units" / "images.parquet", TOOLKIT_IMAGES)) == 36


def test_units_are_used_again_and_not_fitted(folder, tmp_path):
    result = invoke(folder, "score", "--units", folder / "units", "--out", tmp_path / "s.parquet", "--batch", 9)
    assert result.exit_code == 0, result.output
    assert "fitting" not in result.stderr
    assert len(read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)) == 320


def test_units_of_another_model_are_refused(folder, tmp_path):
    tiny_model(folder, "cli-other")
    out = tmp_path / "s.parquet"
    line = refused(invoke(folder, "score", "--units", folder / "units", "--out", out, model="cli-other"))
    assert "made with backbone_architecture 'cli-tiny', this run has 'cli-other'" in line
    assert not out.exists()


def test_diagnose_prints_a_table_and_a_verdict_and_writes_it(folder, tmp_path):
    out = tmp_path / "d.parquet"
    result = invoke(folder, "diagnose", "--units", folder / "units", "--driver", "agreement", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("AUC [95 % interval]") and "\nVerdict: " in result.stdout
    table = read_table(out, DIAGNOSIS)
    assert {"agreement", "s_global", "blind"} <= set(table["signal"])
    line = refused(invoke(folder, "diagnose", "--units", folder / "units", "--driver", "luck", "--out", out))
    assert "signal driver 'luck': not known; one of consistency, consistency_raw, agreement" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--units", "{units}", "--pipeline", "x"), "--pipeline: the units in"),
        (("--units", "{units}", "--save-units", "x"), "--save-units: the units in"),
        (("--save-units", "{units}"), "exists; choose another name for the units"),
        (("--units", "nowhere"), "no such folder of units"),
        (("--device", "nothing"), "device 'nothing': "),
        (("--config", "nowhere.yaml"), "config: nowhere.yaml: no such file"),
        (("--pipeline", "a", "--treebank", "b"), "give a pipeline or a treebank, not both"),
    ],
)
def test_mistakes_are_one_line(folder, tmp_path, arguments, message):
    named = [argument.format(units=folder / "units") for argument in arguments]
    assert message in refused(invoke(folder, "score", "--out", tmp_path / "s.parquet", *named))
    assert not (tmp_path / "s.parquet").exists()


def test_weights_must_exist_and_an_example_is_not_overwritten(folder, tmp_path):
    line = refused(invoke(folder, "score", "--out", tmp_path / "s.parquet", pretrained="nowhere.safetensors"))
    assert "nowhere.safetensors: no such file" in line
    result = CliRunner().invoke(app, ["signal", "example", str(folder / "shapes")])
    assert "captions.csv: exists" in refused(result)


def test_an_example_is_the_same_for_the_same_seed(tmp_path):
    for name in ("a", "b"):
        assert CliRunner().invoke(app, ["signal", "example", str(tmp_path / name), "--images", "3"]).exit_code == 0
    assert (tmp_path / "a/captions.csv").read_text() == (tmp_path / "b/captions.csv").read_text()
    assert (tmp_path / "a/images/00002.png").read_bytes() == (tmp_path / "b/images/00002.png").read_bytes()
    assert len(pd.read_csv(tmp_path / "a/captions.csv")) == 15


def test_strict_stops_where_an_image_is_missing(folder, tmp_path):
    shutil.copytree(folder / "shapes", tmp_path / "shapes")
    (tmp_path / "shapes/images/00001.png").unlink()
    for name in ("cli-tiny.json", "merges.txt"):
        shutil.copy(folder / name, tmp_path / name)
    out = ("--units", folder / "units", "--out", tmp_path / "s.parquet")
    assert "names 1 of 64 images" in refused(invoke(tmp_path, "score", *out, "--strict"))
    assert invoke(tmp_path, "score", *out).exit_code == 0
    assert len(read_table(tmp_path / "s.parquet", TOOLKIT_SCORES)) == 315


@pytest.mark.parametrize("command", ["fit", "score", "diagnose", "trust", "example"])
def test_every_command_has_an_example(command):
    assert "Example: " in CliRunner().invoke(app, ["signal", command, "--help"]).stdout


def test_stress_follows_the_signal_beside_s_global_on_unused_images(folder, tmp_path):
    out = tmp_path / "stress.parquet"
    arguments = ("--units", folder / "units", "--stress-images", 20, "--driver", "agreement", "--out", out)
    result = invoke(folder, "stress", *arguments)
    assert result.exit_code == 0, result.output
    table = read_table(out, STRESS)
    assert {"agreement", "s_global"} <= set(table["signal"])
    assert {"jpeg", "pgd targeted", "typos", "word order"} <= set(table["attack"])
    assert "other domain" not in set(table["attack"])
    clean = table[table["strength"] == 0].groupby(["signal", "kind"])["auc"]
    assert (clean.nunique() == 1).all()
    assert "mean of all" in result.stdout and "hard" in result.stdout


def test_trust_judges_answers_on_unused_images_and_writes_parquet_or_csv(folder, tmp_path):
    out, curves = tmp_path / "trust.parquet", tmp_path / "curves.CSV"
    given = ("--units", folder / "units", "--curves", curves)
    result = invoke(folder, "trust", "--out", out, *given)
    assert result.exit_code == 0, result.output
    table = read_table(out, TRUST)
    assert set(table["split"]) == {"captions.csv"} and set(table["direction"]) == set(TRUST_DIRECTIONS)
    assert set(table["local"]) == {"none", "with geometry", "without geometry", "shuffled"}
    assert set(table.loc[table["direction"] == "text_to_image", "queries"]) == {140} and set(table["images"]) == {28}
    assert "text to image: 140 queries of 28 images" in result.stdout
    assert "best of the simple confidences: " in result.stdout and "the local ranking, with geometry, " in result.stdout
    drawn = pd.read_csv(curves)
    assert list(drawn.columns) == list(TRUST_CURVES.columns) and set(drawn["coverage"]) >= {0.05, 1.0}
    fewer = invoke(folder, "trust", "--out", tmp_path / "t.csv", "--trust-images", 20, "--batch", 3, *given[:2])
    assert fewer.exit_code == 0 and set(pd.read_csv(tmp_path / "t.csv")["images"]) == {20}


def test_trust_needs_images_that_no_fit_has_seen(folder, tmp_path):
    written = pd.read_csv(folder / "shapes" / "captions.csv")
    used = read_table(folder / "units" / "images.parquet", TOOLKIT_IMAGES)["image_id"]
    written[written["image"].isin(used)].to_csv(tmp_path / "used.csv", index=False)
    given = ("--captions", tmp_path / "used.csv", "--units", folder / "units", "--out", tmp_path / "t.parquet")
    assert "judging answers needs 20" in refused(invoke(folder, "trust", *given))
    assert not (tmp_path / "t.parquet").exists()


def test_stress_needs_images_that_no_fit_has_seen(folder, tmp_path):
    arguments = ("--units", folder / "units", "--stress-images", 5, "--out", tmp_path / "stress.parquet")
    assert "a stress test needs 20" in refused(invoke(folder, "stress", *arguments))
    assert not (tmp_path / "stress.parquet").exists()


@pytest.mark.parametrize("command", ["fit", "score", "diagnose", "stress", "trust"])
@pytest.mark.parametrize(
    "place", ["shapes/captions.csv", "shapes/images/00000.png", "cli-tiny.json", "quick.yaml/x", "/proc/x"]
)
def test_an_output_that_cannot_be_one_is_refused_before_the_model_is_read(folder, monkeypatch, command, place):
    def opened(*_):
        raise AssertionError("the model was read")

    monkeypatch.setattr("vialign.toolkit.open_backbone", opened)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    line = refused(invoke(folder, command, "--out", folder / place))
    assert line.startswith(f"vialign: --out: {folder / place}: ")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_too_many_images_that_are_missing_stop_unless_the_tolerance_lets_them(folder, tmp_path):
    fewer = tmp_path / "images"
    shutil.copytree(folder / "shapes" / "images", fewer)
    for number in range(8):
        (fewer / f"{number:05d}.png").unlink()
    given = ("--images", fewer, "--units", folder / "units", "--out", tmp_path / "s.parquet")
    assert "names 8 of 64 images that are not in" in refused(invoke(folder, "score", *given))
    assert invoke(folder, "score", *given, "--tolerance", 0.2).exit_code == 0


def test_an_example_does_not_draw_over_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00000.png").write_text("mine")
    result = CliRunner().invoke(app, ["signal", "example", str(tmp_path), "--images", "1"])
    assert "images: exists; choose another folder for the example" in refused(result)
    assert (tmp_path / "images" / "00000.png").read_text() == "mine"
