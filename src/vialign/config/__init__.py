"""The typed configuration, one module a part of the pipeline."""

from importlib import import_module
from typing import Any

__all__ = ["Config", "load_config", "read_config"]


def __getattr__(name: str) -> Any:
    """What callers need of the package, loaded when it is asked for: sections are read without the whole."""
    if name in __all__:
        return getattr(import_module("vialign.config.experiment"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
