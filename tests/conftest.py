"""Shared settings of all tests: hypothesis, the order, and where real data lies."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# No deadline and no complaint about slow generation: the machine may be busy. Derandomised: a failure can be repeated.
settings.register_profile(
    "vialign", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vialign")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The run of the whole pipeline first: it is the longest, and the other worker does the rest meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_folder() -> Path:
    """The folder of real data: `VIALIGN_REAL`, or `../shared/real` beside the repository."""
    folder = Path(os.environ.get("VIALIGN_REAL", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VIALIGN_REAL to its folder")
    return folder
