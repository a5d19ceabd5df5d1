"""Photographs that a benchmark tests on are not trained on: data sets share photographs with benchmarks."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from vialign.data.base import TABLES, DatasetTables
from vialign.data.photographs import Numbers, named_by_file, numbers_in_use, shared_with
from vialign.names import tested_splits
from vialign.tables.data import SHARED

OWN = "data"
"""In the table of shared photographs: the run's own data set."""


def without_tested(
    own: DatasetTables, benchmarks: Sequence[DatasetTables], dataset: str, published: Mapping[str, Numbers]
) -> DatasetTables:
    """The data set without the images, outside its test splits, that are photographs of a benchmark.

    MSCOCO's training images hold photographs that VQA v2 and SugarCrepe test on, because the splits of Karpathy and
    Fei-Fei take some of its validation images for training. Photographs are told by their numbers: `published` holds
    those of the data set by image where its files tell more than the names do. What was looked for and found is counted
    in `shared`, and summed up on stderr.
    """
    if not benchmarks:
        return own
    used = numbers_in_use(pd.concat([part.images for part in benchmarks], ignore_index=True), dataset, {})
    trained = own.images[~own.images["split"].isin(tested_splits(dataset))]
    photographs = {
        image_id: published.get(image_id) or named_by_file(path, dataset)
        for image_id, path in zip(trained["image_id"], trained["path"], strict=True)
    }
    found = shared_with(photographs, used)
    out = set[str]().union(*found.values())
    if out:
        counts = ", ".join(f"{name} {len(images)}" for name, images in found.items() if images)
        said = f"{len(out)} of {len(trained)} images are photographs of a benchmark ({counts}) and were left out"
        print(f"vialign: {dataset}: {said}", file=sys.stderr)
    numbers = {str(name): group["numbers"] for name, group in used.groupby("split", sort=False)}
    rows = [
        (OWN, name, len(numbers[name]), sum(map(bool, numbers[name])), len(images)) for name, images in found.items()
    ]
    shared = SHARED.check(pd.DataFrame(rows, columns=list(SHARED.columns)))
    kept = {
        name: getattr(own, name)[~getattr(own, name)["image_id"].isin(out)].reset_index(drop=True)
        for name, table in TABLES.items()
        if "image_id" in table.columns
    }
    return replace(own, **kept, shared=shared)
