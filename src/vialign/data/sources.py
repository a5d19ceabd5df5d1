"""Labelled boxes and relations of another data set than the one whose captions are trained on.

Its photographs form splits of their own. One that the run reads anywhere else, in its data set or in a benchmark, is
kept out and counted: no box of a test image may teach anything.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from vialign.config.data import DataConfig
from vialign.data.base import DatasetTables, relative_to
from vialign.data.folders import sources
from vialign.data.photographs import Numbers, numbers_in_use, shared_with
from vialign.data.published_files import require_folder
from vialign.errors import UserError, reading
from vialign.names import DATASETS, SPLITS_OF
from vialign.random import generator
from vialign.tables.data import CAPTIONS, CHOICES, PROBLEMS, QUESTIONS, RATINGS, SHARED

SIZES: Mapping[str, int] = {"disentangle": 2000, "disentangle_selection": 600, "probe": 1000}
"""Photographs of each split, unless `data.sizes` says otherwise; the two held-out ones take at most a fifth each."""
_HELD_OUT = 0.2
_LEAST = 10
"""Photographs without which a source cannot be dealt."""


@dataclass(frozen=True)
class Source:
    """One folder of labels, and what of the run reads it."""

    dataset: str
    folder: Path
    keys: tuple[str, ...]
    """`disentangle`, `probe` or both."""

    @property
    def label(self) -> str:
        """The keys as messages name them."""
        return " and ".join(f"data.{key}" for key in self.keys)

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split that it fills."""
        return tuple(split for key in self.keys for split in SPLITS_OF[key])


def together(config: DataConfig) -> list[Source]:
    """The sources that the config names, each folder once: both keys may name the same."""
    place_of = {key: (source.dataset, source.folder) for key, source in sources(config).items()}
    return [
        Source(dataset, Path(folder), tuple(key for key, place in place_of.items() if place == (dataset, folder)))
        for dataset, folder in dict.fromkeys(place_of.values())
    ]


def read_sources(
    config: DataConfig, seed: int, images: pd.DataFrame, wanted: Sequence[Source]
) -> Iterator[DatasetTables]:
    """The splits of every source that is wanted, one after the other.

    `images` (IMAGES) are those of the run's data set and benchmarks. Raises UserError when a source cannot be read, or
    has no photograph with labels that is not read elsewhere.
    """
    if not wanted:
        return
    used = numbers_in_use(images, config.dataset, published_numbers(config.dataset, config.folder))
    for source in wanted:
        require_folder(str(source.folder), source.dataset, f"data.{source.keys[0]}.folder")
        with reading(source.folder, "get it again as docs/data.md says", source.dataset):
            photographs: Mapping[str, Numbers] = import_module(DATASETS[source.dataset]).photographs(source.folder)
            found = read_source(source, config, seed, photographs, used)
        rows = [(split, photographs[name.partition("/")[2]]) for name, split in _split_of(found).items()]
        used = pd.concat([used, pd.DataFrame(rows, columns=list(used.columns))], ignore_index=True)
        yield found


def read_source(
    source: Source, config: DataConfig, seed: int, photographs: Mapping[str, Numbers], used: pd.DataFrame
) -> DatasetTables:
    """The splits of one source: images, boxes and relations alone, each id behind the name of its split.

    `photographs` are all that the source could give, by image; `used` is as `numbers_in_use` gives it.
    """
    shared = shared_with(photographs, used)
    aside = set[str]().union(*shared.values())
    counts = ", ".join(f"{split} {len(found)}" for split, found in shared.items() if found) or "none in any split"
    among = f"{len(aside)} of {len(photographs)} photographs of {source.dataset}"
    said = f"{among} are read elsewhere in this run ({counts})"
    left = len(photographs) - len(aside)
    if left < _LEAST:
        raise UserError(f"{source.label}: {said}, and {left} are too few to deal; name another source")
    print(f"vialign: {source.label}: {said} and were kept out", file=sys.stderr)
    sizes = {split: config.sizes.get(split, SIZES[split]) for split in source.splits}
    # Everything comes from the source's own training images; its other splits are as small as its reader lets them be.
    others = dict.fromkeys(("confirmation", "calibration", "diagnosis", "selection", "gate", "test"), 1)
    settings = DataConfig(
        dataset=source.dataset,
        folder=str(source.folder),
        sizes={**others, "train": sum(sizes.values())},
        strict=config.strict,
        tolerance=config.tolerance,
    )
    read: Any = import_module(DATASETS[source.dataset]).read
    tables: DatasetTables = read(settings, seed, aside)
    split_of = deal(tables, source, config.sizes, seed)
    note = pd.DataFrame([(source.label, "", f"{said} and were kept out")], columns=list(PROBLEMS.columns))
    return replace(
        _labels(tables, split_of, source),
        problems=pd.concat([note, tables.problems], ignore_index=True),
        shared=_shared_rows(source, used, shared),
    )


def deal(tables: DatasetTables, source: Source, sizes: Mapping[str, int], seed: int) -> dict[str, str]:
    """Image to split: photographs with a relation for the probe first, then those with a box.

    Drawn by seed. Raises UserError when a split gets none.
    """
    train = set(tables.images.loc[tables.images["split"] == "train", "image_id"])
    order = [str(name) for name in generator(seed, "sources", source.dataset).permutation(sorted(train))]
    boxed, related = set(tables.objects["image_id"]), set(tables.relations["image_id"])
    split_of: dict[str, str] = {}
    for split in reversed(source.splits):
        wanted, what = (related, "relation") if split in SPLITS_OF["probe"] else (boxed, "box")
        there = [name for name in order if name in wanted and name not in split_of]
        most = SIZES[split] if split == "disentangle" else min(SIZES[split], max(1, int(_HELD_OUT * len(train))))
        chosen = there[: sizes.get(split, most)]
        if not chosen:
            raise UserError(
                f"{source.label}: {source.dataset}: no photograph with a labelled {what} is left for split {split}; "
                "name another source or lower data.sizes"
            )
        split_of |= dict.fromkeys(chosen, split)
    return split_of


def _labels(tables: DatasetTables, split_of: Mapping[str, str], source: Source) -> DatasetTables:
    """Images, boxes and relations of the dealt photographs."""
    key_of = {split: key for key in source.keys for split in SPLITS_OF[key]}

    def own(frame: pd.DataFrame, *ids: str) -> pd.DataFrame:
        kept = frame[frame["image_id"].isin(split_of.keys())].reset_index(drop=True)
        splits = kept["image_id"].map(split_of)
        return kept.assign(**{name: splits + "/" + kept[name] for name in ("image_id", *ids)})

    images = own(tables.images.assign(split=tables.images["image_id"].map(split_of)))
    found = relative_to(replace(tables, images=images), source.folder, source.keys[0])
    return replace(
        found,
        images=found.images.assign(source=found.images["split"].map(key_of)),
        captions=CAPTIONS.empty(),
        objects=own(tables.objects, "object_id"),
        relations=own(tables.relations, "relation_id", "subject_id", "object_id"),
        choices=CHOICES.empty(),
        questions=QUESTIONS.empty(),
        ratings=RATINGS.empty(),
    )


def _split_of(tables: DatasetTables) -> dict[str, str]:
    return dict(zip(tables.images["image_id"], tables.images["split"], strict=True))


def _shared_rows(source: Source, used: pd.DataFrame, shared: Mapping[str, set[str]]) -> pd.DataFrame:
    of_split = {str(split): group["numbers"] for split, group in used.groupby("split", sort=False)}
    rows = [
        (key, split, len(of_split[split]), sum(map(bool, of_split[split])), len(found))
        for key in source.keys
        for split, found in shared.items()
    ]
    return SHARED.check(pd.DataFrame(rows, columns=list(SHARED.columns)))


def published_numbers(dataset: str, folder: str | None) -> Mapping[str, Numbers]:
    """What the files of the run's own data set say of its photographs, beyond the names of these."""
    module: Any = import_module(DATASETS[dataset])
    return module.photographs(Path(folder)) if folder is not None and hasattr(module, "photographs") else {}
