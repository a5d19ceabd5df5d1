"""Data sets and benchmarks by name. A new one is a reader in its own file and one line in `vialign.names`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import pandas as pd

from vialign.config.data import DataConfig
from vialign.data.base import (
    TABLES,
    DatasetTables,
    Problems,
    check_references,
    relative_to,
    require_images,
    require_splits,
)
from vialign.data.benchmarks.aro_order import order_choices, read_order_file
from vialign.data.folders import EMBEDDED, benchmark_folder, image_folders
from vialign.data.published_files import SourceNote
from vialign.data.sources import published_numbers, read_sources, together
from vialign.data.tested import without_tested
from vialign.errors import UserError, reading
from vialign.names import BENCHMARKS as BENCHMARKS
from vialign.names import DATASETS as DATASETS
from vialign.names import SOURCE_SPLITS, splits_of


def read_dataset(config: DataConfig, seed: int, output: str | Path) -> DatasetTables:
    """Read or draw the data set, the benchmarks and the sources of labels of the config, with references checked.

    No photograph that a benchmark tests on stays in a split that is trained, chosen or calibrated on.
    `output` is the run's data folder; only an embedded data set writes there (its images). Skipped rows are listed
    in `problems` and summed up on stderr. Raises UserError for an unknown name, missing files, more broken
    rows than `config.tolerance` allows, a split that stages need without an image or, where the data set has captions,
    without a caption, and, when `config.strict`, the first broken row.
    """
    own, benchmarks = read_own(config, seed, output), [read_benchmark(config, name, seed) for name in config.benchmarks]
    parts = apart(own, benchmarks, config)
    parts += read_sources(config, seed, pd.concat([part.images for part in parts]), together(config))
    return whole(parts, config)


def apart(own: DatasetTables, benchmarks: Sequence[DatasetTables], config: DataConfig) -> list[DatasetTables]:
    """The data set without what a benchmark tests on, and the benchmarks."""
    numbers = published_numbers(config.dataset, config.folder)
    return [without_tested(own, benchmarks, config.dataset, numbers), *benchmarks]


def whole(parts: list[DatasetTables], config: DataConfig) -> DatasetTables:
    """All that a run reads as one data set, checked. Raises UserError as `read_dataset`."""
    tables = checked(parts, config)
    require_splits(tables, config.dataset)
    return tables


def read_own(config: DataConfig, seed: int, output: str | Path) -> DatasetTables:
    """The data set alone, with the items of its order files, as `read_dataset`; references are not checked."""
    name = known(config.dataset, DATASETS, "data.dataset")
    folders = image_folders(config, output)
    module = import_module(DATASETS[name])
    with reading(folders["data"], "get it again as docs/data.md says", name):
        own = module.build(config, seed, Path(output)) if name in EMBEDDED else module.read(config, seed)
    require_images(own, name)
    return _with_order(relative_to(own, folders["data"], "data"), config)


def read_benchmark(config: DataConfig, name: str, seed: int) -> DatasetTables:
    """One benchmark alone, as `read_dataset`; references are not checked."""
    reader, source = import_module(BENCHMARKS[known(name, BENCHMARKS, "data.benchmarks")]), config.benchmarks[name]
    with reading(source.folder, "get it again as docs/data.md says", name):
        found = reader.read(source, seed)
    require_images(found, name)
    return relative_to(found, benchmark_folder(source), name)


def checked(parts: list[DatasetTables], config: DataConfig) -> DatasetTables:
    """One data set of several parts, whose rows all point to something; what was left out is summed up on stderr."""
    tables, lines = check_references(_together(parts), config.dataset, config.strict, config.tolerance)
    strange = set(tables.images["split"]) - {*splits_of(config.dataset), *config.benchmarks, *SOURCE_SPLITS}
    if strange:
        raise ValueError(f"the reader of {config.dataset} makes splits that no run knows: {sorted(strange)}")
    for line in lines:
        print(f"vialign: {line}", file=sys.stderr)
    return tables


def known(name: str, registered: Mapping[str, str], key: str) -> str:
    """`name` if it is registered; raises UserError listing what there is."""
    if name not in registered:
        raise UserError(f"config: {key}: {name!r} is unknown; choose one of {', '.join(sorted(registered))}")
    return name


def source_note(name: str) -> SourceNote | None:
    """What a user must know to have a data set or benchmark; None for an embedded world."""
    modules = DATASETS | BENCHMARKS
    if name in EMBEDDED:
        return None
    found: SourceNote = import_module(modules[name]).NOTE
    return found


def _with_order(tables: DatasetTables, config: DataConfig) -> DatasetTables:
    """The tables with the items of the order files whose images are in the test split; the others are noted."""
    problems = Problems(config.dataset, config.strict)
    test = set(tables.images.loc[tables.images["split"] == "test", "image_id"])
    items = []
    for path in config.order_files:
        choices = order_choices(read_order_file(Path(path)), "test")
        here = choices["images"].map(lambda images: set(images) <= test).astype(bool)
        if not here.all():
            problems.note(Path(path).name, "", f"{(~here).sum()} of {len(here)} items show no image of the test split")
        items.append(choices[here])
    if not items:
        return tables
    return replace(
        tables,
        choices=pd.concat([tables.choices, *items], ignore_index=True),
        problems=pd.concat([tables.problems, problems.frame()], ignore_index=True),
    )


def _together(parts: list[DatasetTables]) -> DatasetTables:
    """One data set of several; its image folder is that of the first."""
    frames = {name: pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in TABLES}
    assert {entry.name for entry in fields(DatasetTables)} == {*frames, "image_folder"}
    return DatasetTables(**frames, image_folder=parts[0].image_folder)
