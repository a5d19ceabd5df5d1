"""Where the image files of a run lie."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vialign.config.data import BenchmarkConfig, DataConfig, SourceConfig
from vialign.config.experiment import Config
from vialign.errors import UserError
from vialign.files.paths import Output, check_paths
from vialign.names import EMBEDDED as EMBEDDED
from vialign.names import SOURCES


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
    labels = {key: Path(source.folder) for key, source in sources(config).items()}
    return {"data": own} | labels | {name: benchmark_folder(source) for name, source in config.benchmarks.items()}


def sources(config: DataConfig) -> Mapping[str, SourceConfig]:
    """The sources of labels that the config names beside its data set, by their key."""
    named = {key: getattr(config, key) for key in SOURCES}
    return {key: source for key, source in named.items() if source is not None}


def benchmark_folder(config: BenchmarkConfig) -> Path:
    """The folder that a benchmark's image paths are relative to."""
    return Path(config.folder if config.images is None else config.images)


def check_run_folders(config: Config) -> None:
    """Refuse a run that cannot write its results, or whose inputs lie where it empties folders and fills them.

    Also one that does not say where an input lies. Raises UserError naming the key and the folder.
    """
    results, language = Path(config.results), config.language
    if not config.results.isprintable() or set("{}") & set(config.results):
        raise UserError(
            f"config: results: {config.results!r}: has a brace, which Snakemake takes for a wildcard, or a sign that "
            "cannot be printed; choose another name"
        )
    if Path.cwd().is_relative_to(os.path.realpath(results)):
        raise UserError(
            f"config: results: {config.results}: the run is called from within it, and would mix its files with what "
            "is there; name a folder of its own, such as results"
        )
    check_paths([Output("config: results", results, None)], {})
    image_folders(config.data, results)
    if language.treebank != "scenes" and language.folder is None:
        raise UserError(f"config: language.folder is not set; treebank {language.treebank} needs the folder it lies in")
    own = os.path.realpath(results / "data")
    for key, path in _inputs(config):
        real = os.path.realpath(path)
        if real == os.path.realpath(results) or Path(real).is_relative_to(own):
            raise UserError(
                f"config: {key}: {path}: the run writes its own files there (results: {config.results}) and would "
                "replace yours; move one of them"
            )


def _inputs(config: Config) -> Iterator[tuple[str, str]]:
    """Key and place of everything that the data of a run are read from."""
    data, language = config.data, config.language
    named = {"data.folder": data.folder, "data.tune_list": data.tune_list, "data.regions": data.regions}
    named |= {f"data.{key}.folder": source.folder for key, source in sources(data).items()}
    named |= {f"data.order_files[{place}]": file for place, file in enumerate(data.order_files)}
    for name, source in data.benchmarks.items():
        places = {"folder": source.folder, "images": source.images, "regions": source.regions}
        named |= {f"data.benchmarks.{name}.{field}": path for field, path in places.items()}
    named["language.folder"] = language.folder
    named |= {f"language.domains.{name}.folder": domain.folder for name, domain in language.domains.items()}
    yield from ((key, path) for key, path in named.items() if path is not None)
