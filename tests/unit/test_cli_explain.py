import shutil

import pytest
import yaml
from typer.testing import CliRunner

from explained import CAPTION, finished_run
from vialign.cli.app import app


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The configuration of the small run as a file."""
    path = tmp_path_factory.mktemp("cli") / "config.yaml"
    path.write_text(yaml.safe_dump(finished_run()[0].config.model_dump(mode="json")))
    return path


def invoke(config, *arguments, image=None, caption=CAPTION):
    given = [image or finished_run()[2], caption, "--config", config, *arguments]
    return CliRunner().invoke(app, ["explain", *map(str, given)])


def refused(result):
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


def test_it_writes_a_page_and_a_picture_and_says_where(config, tmp_path):
    result = invoke(config, "--out", tmp_path / "a/b")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a/b/explain.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "a/b/explain.png").read_bytes().startswith(b"\x89PNG")
    assert result.stdout.count(": written") == 2


def test_results_may_lie_elsewhere_and_an_image_behind_a_link(config, tmp_path):
    run, _, image = finished_run()
    shutil.copytree(run.results, tmp_path / "moved", ignore=shutil.ignore_patterns("train"))
    (tmp_path / "link.png").symlink_to(image)
    result = invoke(config, "--results", tmp_path / "moved", "--out", tmp_path / "out", image=tmp_path / "link.png")
    assert result.exit_code == 0, result.output
    assert "No trained method" in (tmp_path / "out/explain.html").read_text()


def test_results_without_a_part_name_the_rule_that_makes_it(config, tmp_path):
    run = finished_run()[0]
    shutil.copytree(run.results, tmp_path / "run")
    for name, target in (
        ("signal/calibration.parquet", "calibrate_signal"),
        ("disentangle/visual.safetensors", "disentangle"),
        ("language/pipeline/meta.json", "language"),
    ):
        (tmp_path / "run" / name).unlink()
        line = refused(invoke(config, "--results", tmp_path / "run", "--out", tmp_path / "out"))
        assert f"{name}: no such file; make it with `snakemake {target}`" in line
    assert not (tmp_path / "out").exists()


def test_mistakes_are_one_line(config, tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    out = ("--out", tmp_path / "out")
    assert "nowhere.png: no such image file" in refused(invoke(config, *out, image="nowhere.png"))
    assert "cannot be read as an image" in refused(invoke(config, *out, image=tmp_path / "text.png"))
    assert "the caption is empty" in refused(invoke(config, *out, caption="  "))
    assert "is a file, and a folder is wanted" in refused(invoke(config, "--out", tmp_path / "text.png"))
    assert "nowhere.yaml: no such file" in refused(invoke("nowhere.yaml", *out))
    assert not (tmp_path / "out").exists()


def test_the_rules_that_are_named_exist(repository):
    from vialign.analysis.explain import NEEDED

    text = "".join(path.read_text() for path in (repository / "workflow/rules").glob("*.smk"))
    assert all(f"rule {target}:" in text for target in NEEDED.values())
