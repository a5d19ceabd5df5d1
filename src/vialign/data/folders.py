"""Where the image files of a run lie."""

from collections.abc import Mapping
from pathlib import Path

from vialign.config import BenchmarkConfig, DataConfig
from vialign.errors import UserError

EMBEDDED = frozenset({"scenes"})
"""Data sets that the project draws itself, into the run's own folder."""


def image_folders(config: DataConfig, tables: str | Path) -> Mapping[str, Path]:
    """What `images.path` is relative to, by source: the tables' own folder when embedded, else where the data lie.

    Raises UserError when the config does not say where.
    """
    if config.dataset in EMBEDDED:
        own = Path(tables)
    elif config.folder is None:
        raise UserError(f"config: data.folder is not set; {config.dataset} needs the folder it lies in (docs/data.md)")
    else:
        own = Path(config.folder)
    return {"data": own} | {name: benchmark_folder(source) for name, source in config.benchmarks.items()}


def benchmark_folder(config: BenchmarkConfig) -> Path:
    """The folder that a benchmark's image paths are relative to."""
    return Path(config.folder if config.images is None else config.images)
