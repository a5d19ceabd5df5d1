"""The wheel, as a user has it: built, installed into an environment of its own, and used without a clone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from vialign.files.artifacts import read_table
from vialign.tables.signal import TOOLKIT_SCORES

QUICK = """
visual: {steps: 3, batch: 8, atoms: 8, background: 2, prototypes: 4}
text: {steps: 3, batch: 8}
language: {sentences: 100, epochs: 1}
signal: {pairs: 40, permutations: 99, bootstrap: 20, folds: 3}
"""
WITHOUT_EXTRAS = (
    "import sys; sys.modules['snakemake'] = sys.modules['peft'] = None; from vialign.cli.app import app; app()"
)
TAKEN_HOME = """
import sys
from pathlib import Path

import vialign

assert not {"torch", "pandas", "open_clip"} & set(sys.modules), "import vialign brings nothing heavy"
pictures = sorted(Path("shapes/images").glob("*.png"))[:6]
texts = ["a red circle", "a blue square above a red circle", "a green star"]
aligner = vialign.load("vialign-scenes", signal="units")
scores = aligner.score(pictures, texts)
assert scores.shape == (6, 3)
ranking = aligner.rank(pictures, texts[1], top=2)
assert ranking.indices == scores[:, 1].argsort(descending=True)[:2].tolist() and ranking.trust.local_rank >= 0
assert aligner.explain(pictures[0], texts[1]).matches
wrapped = vialign.wrap(aligner.model, method="vialign-correct", architecture="vialign-scenes", signal="units")
wrapped.print_trainable_parameters()
assert abs(wrapped.score(pictures, texts) - scores).max() < 1e-5, "it starts as the cosine"

import torch

optimiser = torch.optim.SGD(wrapped.method.trainable().values(), 0.5)
wrapped.loss(pictures[:3], texts)["loss"].backward()
optimiser.step()
tuned = wrapped.score(pictures, texts)
assert abs(tuned - scores).max() > 1e-4
wrapped.save_pretrained("tuned")
again = vialign.Aligner.from_pretrained("tuned", aligner.model)
assert abs(again.score(pictures, texts, batch=2) - tuned).max() <= 1e-6
wrapped.save_pretrained("whole", with_backbone=True)
assert abs(vialign.load("whole").score(pictures, texts) - tuned).max() <= 1e-6
print("taken home")
"""
"""The script of somebody who has the wheel and nothing else."""
DATA = ("--model", "vialign-scenes", "--pretrained", "package", "--images", "shapes/images")
DATA += ("--captions", "shapes/captions.csv")


def done(command, folder, **settings):
    """What a command said. It sees no other copy of the package than the one that is installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=folder, env=kept | settings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words)}: {(result.stdout + result.stderr)[-3000:]}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def sources(repository, tmp_path_factory):
    """A copy of what is packed, so that the build leaves nothing behind in the repository."""
    tree = tmp_path_factory.mktemp("sources")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "workflow", "configs", "profiles", "envs"):
        shutil.copytree(repository / name, tree / name, ignore=leave)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "Snakefile", "config.yaml"):
        shutil.copy(repository / name, tree)
    return tree


@pytest.fixture(scope="module")
def installed(sources, tmp_path_factory):
    """An environment that holds the wheel and, behind it, the libraries of this one; no network is asked."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-deps", "--no-index"]
    done([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, sources], folder)
    (wheel,) = folder.glob("vialign-*.whl")
    venv.create(folder / "env", symlinks=True)
    done([*pip, "--python", folder / "env", "install", *offline, wheel], folder)
    paths = sysconfig.get_paths(vars={"base": str(folder / "env"), "platbase": str(folder / "env")})
    libraries = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    # A path file is not followed inside one, so an editable install of the package stays out.
    Path(paths["purelib"], "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    return folder / "env"


def files(tree, root):
    """Files at or below `root`, relative to the tree, but for what Python writes."""
    found = [path for path in [tree / root, *(tree / root).rglob("*")] if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(tree).as_posix() for path in found}


def bare(installed, folder, *words):
    """A command where neither Snakemake nor peft is there: `pip install vialign` brings none of them."""
    return done([installed / "bin" / "python", "-c", WITHOUT_EXTRAS, *words], folder, OMP_NUM_THREADS="1")


def test_the_installed_package_is_the_wheels(installed, tmp_path):
    told = done([installed / "bin" / "python", "-c", "import vialign; print(vialign.__file__)"], tmp_path)
    assert Path(told.strip()).is_relative_to(installed)


@pytest.fixture(scope="module")
def fitted(installed, tmp_path_factory):
    """A folder outside the repository with drawn pictures and units, made by the commands of the wheel."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "quick.yaml").write_text(QUICK, encoding="utf-8")
    bare(installed, folder, "signal", "example", "shapes", "--images", "24")
    bare(installed, folder, "signal", "fit", *DATA, "--config", "quick.yaml", "--out", "units")
    return folder


def test_a_signal_is_fitted_and_scores_outside_the_repository(installed, fitted):
    bare(installed, fitted, "signal", "score", *DATA, "--units", "units", "--out", "scores.parquet")
    scores = read_table(fitted / "scores.parquet", TOOLKIT_SCORES)
    assert len(scores) == 5 * 24 and scores["consistency"].between(0, 1).all()


def test_a_script_loads_scores_ranks_explains_wraps_saves_and_loads_again(installed, fitted):
    (fitted / "home.py").write_text(TAKEN_HOME, encoding="utf-8")
    told = done([installed / "bin" / "python", "home.py"], fitted, OMP_NUM_THREADS="1")
    assert told.splitlines()[-1] == "taken home" and "trainable params: " in told


def test_pictures_are_indexed_and_found_outside_the_repository(installed, fitted):
    bare(installed, fitted, "index", "shapes/images", "--out", "index", "--model", "vialign-scenes", "--units", "units")
    told = bare(installed, fitted, "search", "index", "a red circle", "--top", "3", "--html", "found.html")
    assert "found.html: written" in told and (fitted / "found.html").stat().st_size > 10_000


def test_a_run_is_planned_in_a_folder_that_init_made(installed, tmp_path):
    done([installed / "bin" / "vialign", "init", "run"], tmp_path)
    told = done([installed / "bin" / "python", "-m", "snakemake", "-n"], tmp_path / "run", OMP_NUM_THREADS="1")
    assert "prepare_data" in told and "signal_gate" in told


def test_the_wheel_carries_every_file_of_the_workflow(installed, sources):
    (carried,) = installed.glob("lib/python*/site-packages/vialign/project")
    found = files(carried, "")
    assert len(found) > 50 and found == {
        name
        for root in ("Snakefile", "config.yaml", "configs", "envs", "profiles", "workflow")
        for name in files(sources, root)
        if not name.startswith("workflow/schemas/")
    }
