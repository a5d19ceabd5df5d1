"""Shared settings of all tests: hypothesis, the order, and where real data lies."""

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import vialign.backbone  # noqa: F401  so that a file that imports open_clip first can be run alone (torchvision_shim)
from checking import begin_checks
from documentation import build as build_site
from made_once import common_folder, made_once
from vialign.language.kept import CACHE
from warm_python import warm_python

ROOT = Path(__file__).resolve().parents[1]
LONGEST = (
    "unit/test_docs.py",
    "browser/test_docs_pages.py",
    "browser/test_report_browser.py",
    "unit/baselines/test_conformance.py",
    "unit/signal/test_toolkit_docs.py",
    "unit/test_wheel.py",
    "unit/signal/test_toolkit_examples.py",
    "unit/test_mutations.py",
    "unit/signal/test_toolkit.py",
    "unit/budget/test_cli_budget.py",
    "unit/budget/test_ledger.py",
    "unit/test_cli_signal.py",
    "unit/test_cli_init.py",
    "unit/report/test_build.py",
    "unit/analysis/test_gradients.py",
    "unit/analysis/test_explain.py",
    "unit/curriculum/test_method.py",
    "unit/training/test_distributed.py",
    "unit/test_readme.py",
    "unit/disentangle/test_fitting.py",
    "unit/language/test_pipeline.py",
)
"""Files that take more than ten seconds, longest first."""

# No deadline and no complaint about slow generation: the machine may be busy. Derandomised: a failure can be repeated.
settings.register_profile(
    "vialign", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vialign")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The run of the whole pipeline first, then the longest files: the workers, which take a file at a time, end
    together when only short ones are left.
    """
    places = {name: place for place, name in enumerate(LONGEST)}

    def order(item: pytest.Item) -> tuple[bool, int]:
        name = item.path.relative_to(ROOT / "tests").as_posix()
        return item.get_closest_marker("workflow") is None, places.get(name, len(places))

    items.sort(key=order)


def pytest_configure() -> None:
    """No garbage is looked for until all tests are imported: they make millions of objects that stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on it is, among what the tests make alone."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The first calls of every test have their types and shapes checked."""
    begin_checks()


@pytest.fixture(scope="session", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache that the workers of this run share, in place of the user's."""
    os.environ[CACHE] = str(common_folder(tmp_path_factory) / "cache")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Python that starts in no time, for the many short calls of Snakemake (tests/warm_python.py)."""
    with warm_python(tmp_path_factory.mktemp("warm")) as program:
        yield program


@pytest.fixture(scope="session")
def real_folder() -> Path:
    """The folder of real data: `VIALIGN_REAL`, or `../shared/real` beside the repository."""
    folder = Path(os.environ.get("VIALIGN_REAL", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VIALIGN_REAL to its folder")
    return folder


@pytest.fixture(scope="session")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as `make docs` builds it."""
    for needed in ("material", "latex2mathml"):
        pytest.importorskip(needed, reason="the extra `docs` is not installed")

    def make(folder: Path) -> None:
        done = build_site(repository, folder)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "site", make)


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole fake run with its page, for all tests of the report: drawing it takes ten seconds."""
    from unit.report.fake_results import PROVENANCE, fake_config, write_fake_results
    from vialign.report.build import build_report

    def make(folder: Path) -> None:
        write_fake_results(folder)
        build_report(folder, fake_config(), folder / "report/index.html", PROVENANCE)

    return made_once(tmp_path_factory, "whole_run", make)


@pytest.fixture(scope="session")
def extended(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with all diffs of docs/extending."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and the diffs are applied by it")
    tree = tmp_path_factory.mktemp("extended")
    for name in ("src", "tests", "workflow", "configs", "docs", "profiles", "envs"):
        leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.png")
        shutil.copytree(repository / name, tree / name, ignore=leave)
    for name in ("pyproject.toml", "Snakefile", "config.yaml"):
        shutil.copy(repository / name, tree)
    for diff in sorted((repository / "docs/extending").glob("*.diff")):
        done = subprocess.run(["git", "apply", str(diff)], cwd=tree, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{diff.name} does not apply any more: {done.stderr}"
    return tree
