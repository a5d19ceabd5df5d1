"""One model on one benchmark: the stages of the pipeline one after the other, in a folder that goes afterwards."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vialign.aligner.aligner import Aligner
from vialign.aligner.sides import reads_units, refuse_regions
from vialign.config.data import BenchmarkConfig, DataConfig
from vialign.data.base import DatasetTables
from vialign.data.folders import image_folders
from vialign.data.registry import checked, read_benchmark, read_own
from vialign.disentangle import encode_images, encode_texts
from vialign.disentangle.encoded import no_units, write_encoded
from vialign.disentangle.grounding import readout_grounding
from vialign.disentangle.types import in_blocks
from vialign.errors import UserError
from vialign.evaluation.run import evaluate
from vialign.features import extract_images, extract_texts, read_images, read_texts
from vialign.files.artifacts import write_table
from vialign.language.texts import caption_texts, item_texts
from vialign.language.units import extract_units
from vialign.methods.inputs import read_split
from vialign.methods.objective import SplitData
from vialign.names import BENCHMARKS, DATASETS, EMBEDDED
from vialign.tables.language import POINTING, TEXTS
from vialign.toolkit.captions import warn

_SHARD = 2000
_UNREAD = ("calibration", "diagnosis", "confirmation")
"""Splits of a data set that a run would take from its training images; nothing here reads them."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, or the test split of a data set, as it is asked for."""

    name: str
    config: DataConfig
    limit: int | None
    """Items, or images of a data set, at most; drawn by seed."""

    def read(self) -> DatasetTables:
        """Its images, captions and items; the split is called as the benchmark. Raises UserError as its reader."""
        if self.name in BENCHMARKS:
            return checked([read_benchmark(self.config, self.name, 0)], self.config)
        with tempfile.TemporaryDirectory() as folder:
            tables = checked([read_own(self.config, 0, folder)], self.config)
        return _test_of(tables, self.name)

    @property
    def folders(self) -> Mapping[str, Path]:
        """Where its images lie."""
        return image_folders(self.config, ".")


def named_benchmark(
    name: str, data: Path, images: Path | None, limit: int | None, strict: bool, tolerance: float
) -> Benchmark:
    """A benchmark of the registry whose files lie in `data/<name>`, or in `data` itself.

    Raises UserError for an unknown name.
    """
    known = [*BENCHMARKS, *(dataset for dataset in DATASETS if dataset not in EMBEDDED)]
    if name not in known:
        raise UserError(f"--benchmark: {name!r} is unknown; choose of {', '.join(known)}")
    folder = str(data / name if (data / name).is_dir() else data)
    if name in BENCHMARKS:
        place = None if images is None else str(images)
        source = BenchmarkConfig(folder=folder, images=place, items=limit, strict=strict, tolerance=tolerance)
        return Benchmark(name, DataConfig(benchmarks={name: source}, strict=strict, tolerance=tolerance), limit)
    if images is not None:
        raise UserError(f"--images {name}=...: the images of {name} lie in its own folder; leave it out")
    sizes = dict.fromkeys(_UNREAD, 1) | ({} if limit is None else {"test": limit})
    return Benchmark(
        name, DataConfig(dataset=name, folder=folder, sizes=sizes, strict=strict, tolerance=tolerance), limit
    )


def measure(
    aligner: Aligner,
    benchmark: Benchmark,
    tables: DatasetTables,
    name: str,
    batch: int,
    ranks: list[pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """OUTCOMES of one model on one benchmark, as the pipeline's; `name` is the model's in the table.

    To `ranks` the RANKS of the benchmark are added, a row a direction, where it has captions.

    The towers run in the backbone's precision; what they give is compared in single precision, as in a run. Features
    lie on disk while it runs. Raises UserError for a method that reads regions, and where an image cannot be read.
    """
    refuse_regions(aligner.method)
    split = benchmark.name
    with tempfile.TemporaryDirectory(prefix="vialign-") as folder, evaluating(aligner):
        data = _split(aligner, benchmark, tables, Path(folder), batch)
        return evaluate(aligner.method, data, tables.choices, tables.questions, split, name, 0, batch, ranks=ranks)


def pointed(aligner: Aligner, benchmark: Benchmark, tables: DatasetTables, name: str, batch: int) -> pd.DataFrame:
    """POINTING of one model on one benchmark whose objects are phrases with boxes; `name` is the model's in the table.

    The readouts of the backbone point, as in a run; no method changes them. None where no phrase has a box in what the
    tower sees. Raises UserError where an image cannot be read.
    """
    found = readout_grounding(
        aligner.backbone,
        tables.images,
        tables.objects,
        benchmark.folders,
        batch=batch,
        domain=benchmark.name,
        seed=0,
    )
    return POINTING.check(found.assign(method=name))


def _split(aligner: Aligner, benchmark: Benchmark, tables: DatasetTables, folder: Path, batch: int) -> SplitData:
    """Features and units of the benchmark, through the files that the stages of the pipeline write."""
    split, backbone, signal = benchmark.name, aligner.backbone, aligner.signal
    captions = caption_texts(tables.captions, tables.images, split)
    texts = pd.concat([captions, item_texts(tables.choices, tables.questions, split)], ignore_index=True)
    write_table(texts, TEXTS, folder / "texts.parquet", {})
    readout = "final" if signal is None else signal.encoder.readout
    places = [folder / "texts.parquet", folder / "images", folder / "texts", folder / "encoded.safetensors"]
    images = tables.images, benchmark.folders, places[1], readout
    extract_images(backbone, *images, batch=batch, shard=_SHARD, pixels="decode", provenance={})
    cut = extract_texts(backbone, texts, places[2], batch=batch, shard=_SHARD, provenance={})
    if cut:
        warn(f"{split}: {cut} of {len(texts)} texts are longer than the model reads; their end is cut off")
    if signal is not None and reads_units(aligner.method):
        units, _ = extract_units(texts, signal.encoder.parser)
        prototypes = encode_images(signal.encoder.visual, read_images(places[1]), batch)
        phrases = encode_texts(signal.encoder.text, read_texts(places[2]), units, batch)
    else:
        prototypes, phrases = no_units(len(tables.images), len(texts), backbone.dimension)
    counts = len(tables.images), len(texts)
    write_encoded(in_blocks(prototypes), in_blocks(phrases), counts, places[3], {})
    return read_split(
        *places,
        needs=aligner.method.needs,
        images=tables.images,
        folders=benchmark.folders,
        backbone=backbone,
        device=backbone.device,
    )


@contextmanager
def evaluating(aligner: Aligner) -> Iterator[None]:
    """The method on the CPU, where the stored features are; one that runs the towers stays with them."""
    if {"pixels", "token_ids", "trunk"} & aligner.method.needs:
        yield
        return
    aligner.method.to("cpu")
    try:
        yield
    finally:
        aligner.method.to(aligner.device)


def _test_of(tables: DatasetTables, name: str) -> DatasetTables:
    """The test split of a data set, called as the data set."""
    images = tables.images[tables.images["split"] == "test"].assign(split=name).reset_index(drop=True)
    kept = set(images["image_id"])
    captions = tables.captions[tables.captions["image_id"].isin(kept)].reset_index(drop=True)
    choices = tables.choices[tables.choices["split"] == "test"].assign(split=name).reset_index(drop=True)
    questions = tables.questions[tables.questions["split"] == "test"].assign(split=name).reset_index(drop=True)
    return DatasetTables(
        images=images,
        captions=captions,
        choices=choices,
        questions=questions,
        problems=tables.problems,
        image_folder=tables.image_folder,
    )
