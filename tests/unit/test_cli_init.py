import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from vialign.cli.app import app
from vialign.config.experiment import load_config, read_config
from vialign.files.artifacts import read_table
from vialign.files.folders import new_folder
from vialign.tables.data import IMAGES
from vialign.toolkit import draw_example


def init(folder):
    return CliRunner().invoke(app, ["init", str(folder)])


def snakemake(folder, *words, python=sys.executable):
    command = [python, "-m", "snakemake", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init") / "new" / "run"
    result = init(folder)
    assert result.exit_code == 0, result.output
    return folder


def test_the_folder_holds_what_a_user_changes_and_the_workflow_stays_in_the_package(made, repository):
    assert sorted(path.name for path in made.iterdir()) == ["Snakefile", "config.yaml", "configs", "profiles"]
    for name in ("configs/tiny.yaml", "profiles/slurm/config.yaml"):
        assert (made / name).read_text() == (repository / name).read_text()
    assert len((made / "Snakefile").read_text().splitlines()) < 10


def own(text):
    """A config.yaml in which every setting is switched on by deleting its `#`."""
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def test_config_yaml_is_the_default_experiment_and_says_where_to_write_ones_own(made, repository):
    text = (made / "config.yaml").read_text()
    found, default = read_config(made / "config.yaml"), read_config(repository / "config.yaml")
    named = {"name": "my_run", "title": "My run"}
    assert found == default.model_copy(update=named)
    mine = load_config(yaml.safe_load(own(text)))
    assert (mine.data.dataset, mine.data.folder, mine.backbone.architecture) == ("captioned", "data", "ViT-B-32")
    assert (mine.language.treebank, mine.report.tracking) == ("ud", "trackio")
    assert mine.evaluation.splits == ("test",)
    for section in ("data", "backbone", "language", "training", "gates", "report"):
        assert getattr(mine, section) != getattr(load_config({}), section), section


def test_a_run_on_ones_own_pictures_is_planned_and_reads_them(made, warm, tmp_path):
    """As the comments say: pictures and captions in `data`, a `#` deleted here and there."""
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    draw_example(folder / "data", images=30)
    text = (made / "config.yaml").read_text()
    assert "\n#data: {dataset: captioned, folder: data}\n" in text
    (folder / "config.yaml").write_text(text.replace("\n#data:", "\ndata:"))
    checked = CliRunner().invoke(app, ["config", "check", str(folder / "config.yaml")])
    assert checked.exit_code == 0, checked.output
    planned = snakemake(folder, "-n", "--quiet", "host", "--", "all", python=warm)
    assert planned.returncode == 0 and "signal_gate" in planned.stdout, planned.stdout + planned.stderr
    read = snakemake(folder, "--cores", "1", "--", "data", python=warm)
    assert read.returncode == 0, read.stdout + read.stderr
    images = read_table(folder / "results/data/images.parquet", IMAGES)
    assert len(images) == 30 and set(images["split"]) >= {"train", "gate", "selection", "confirmation", "test"}


def test_snakemake_plans_the_run_that_config_yaml_there_asks_for(made, warm):
    with (made / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("results: elsewhere\n")
    result = snakemake(made, "-n", "--quiet", "host", python=warm)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "elsewhere/data/images.parquet" in result.stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout, flags=re.MULTILINE))
    assert jobs["all"] == jobs["report"] == jobs["signal_gate"] == "1"


def test_a_job_finds_its_script_and_its_package(made):
    result = snakemake(made, "--cores", "1", "--configfile", "configs/tiny.yaml", "--", "data")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((made / "elsewhere/data").glob("*.parquet"))) > 5


def test_a_run_without_peft_names_the_extra_before_anything_is_planned(made, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['peft'] = None\n")
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "snakemake", "-n"]
    result = subprocess.run(command, cwd=made, env=settings, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    expected = "needs peft, which is not installed; add it with `pip install 'vialign[baselines]'`"
    assert result.stderr.splitlines()[-1] == f"vialign: LoRA, which every run compares with, {expected}"


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_planned(made, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['trackio'] = None\n")
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "report={tracking: trackio}"]
    result = subprocess.run(command, cwd=made, env=settings, capture_output=True, text=True, check=False)
    expected = "config: report.tracking: trackio is not installed; add it with `pip install trackio`, or set it to none"
    assert result.returncode == 1 and result.stderr.splitlines()[-1] == f"vialign: {expected}"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("results=out{split}", "config: results: 'out{split}': has a brace, which Snakemake takes for a wildcard"),
        ("data={dataset: coco}", "config: data.folder is not set; coco needs the folder it lies in"),
        ("evaluation={published: [nowhere.csv]}", "nowhere.csv: no such file"),
    ],
)
def test_what_a_later_stage_would_fall_over_is_told_before_anything_is_planned(made, warm, setting, message):
    result = snakemake(made, "-n", "--config", setting, python=warm)
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1 and last.startswith("vialign: ") and message in last, result.stderr


@pytest.mark.parametrize("place", ["folder", "file"])
def test_what_is_there_is_not_touched(place, tmp_path):
    target = tmp_path / "run"
    kept = target / "notes.txt" if place == "folder" else target
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    result = init(target)
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1
    assert ("exists; choose another name for the run" if place == "folder" else "is a file") in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept] and kept.read_text() == "mine"


@pytest.mark.parametrize("name", ["empty", ".", "link", "dangling"])
def test_an_empty_folder_will_do_also_the_current_one_and_one_behind_a_link(name, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("new")
    before = (tmp_path / "empty").stat().st_ino
    monkeypatch.chdir(tmp_path / "empty" if name == "." else tmp_path)
    result = init(name)
    assert result.exit_code == 0, result.output
    made = tmp_path / ("new" if name == "dangling" else "empty")
    assert sorted(path.name for path in made.iterdir()) == ["Snakefile", "config.yaml", "configs", "profiles"]
    assert (tmp_path / "empty").stat().st_ino == before and (tmp_path / "link").is_symlink()
    assert len(list(tmp_path.iterdir())) == (4 if name == "dangling" else 3)


def test_an_empty_folder_that_could_not_be_filled_stays_empty(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path, "the run") as temporary:
        (temporary / "half").write_text("x")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_without_snakemake_it_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "snakemake", None)
    result = init(tmp_path / "run")
    assert result.exit_code == 1 and not (tmp_path / "run").exists()
    expected = "a run needs snakemake, which is not installed; add it with `pip install 'vialign[pipeline]'`"
    assert result.stderr == f"vialign: {expected}\n"
