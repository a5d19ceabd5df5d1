"""What several tests look at, made by the first that asks, whichever worker it runs in."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder of this run of pytest, which all its workers share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills; whoever asks meanwhile waits. What failed is tried again by the next."""
    folder = common_folder(factory) / name
    with (common_folder(factory) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := folder / ".made").exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
