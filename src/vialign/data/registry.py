"""Data sets by name. A new one is a reader in its own file and one line here."""

import sys
from collections.abc import Callable
from pathlib import Path

from vialign.config import DataConfig
from vialign.data.base import DatasetTables, check_references
from vialign.errors import UserError

Reader = Callable[[DataConfig, int, Path], DatasetTables]
"""Config, seed and the folder that an embedded world draws its images into."""


def _scenes(config: DataConfig, seed: int, output: Path) -> DatasetTables:
    from vialign.data.scenes import build

    return build(config, seed, output)


def _flickr8k(config: DataConfig, seed: int, output: Path) -> DatasetTables:
    from vialign.data.flickr8k import read

    return read(config, seed)


READERS: dict[str, Reader] = {"scenes": _scenes, "flickr8k": _flickr8k}
"""Name in the config to reader; a reader imports what it needs when it is called."""

EMBEDDED = frozenset({"scenes"})
"""Data sets that the project draws itself, into the run's own folder."""


def read_dataset(config: DataConfig, seed: int, output: str | Path) -> DatasetTables:
    """Read or draw the data set that the config names, with its references checked.

    `output` is the run's data folder; only an embedded data set writes there (its images). Skipped rows are listed
    in `problems` and summed up on stderr. Raises UserError for an unknown name, missing files, and, when
    `config.strict`, the first broken row.
    """
    name = known(config.dataset)
    tables, lines = check_references(READERS[name](config, seed, Path(output)), name, config.strict)
    for line in lines:
        print(f"vialign: {line}", file=sys.stderr)
    return tables


def image_folder(config: DataConfig, tables: str | Path) -> Path:
    """The folder that `images.path` is relative to: the tables' own folder when embedded, else the data set's."""
    name = known(config.dataset)
    if name in EMBEDDED:
        return Path(tables)
    if config.folder is None:
        raise UserError(f"config: data.folder is not set; {name} needs the folder it lies in (docs/data.md)")
    return Path(config.folder)


def known(name: str) -> str:
    """`name` if it is registered; raises UserError listing what there is."""
    if name not in READERS:
        raise UserError(f"config: data.dataset: {name!r} is unknown; choose one of {', '.join(sorted(READERS))}")
    return name
