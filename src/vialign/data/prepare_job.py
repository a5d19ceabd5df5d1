"""The data of a run, read or drawn, as tables."""

from pathlib import Path

from vialign.data.base import write_dataset
from vialign.data.registry import read_dataset
from vialign.stage import Run


def prepare_data(run: Run) -> None:
    """The data of a run, read or drawn, as tables."""
    # Real data sets draw and publish nothing; the folders exist all the same, because the rule promises them.
    for folder in (run.output.drawn, run.output.published):
        Path(folder).mkdir(parents=True, exist_ok=True)
    tables = read_dataset(run.config.data, run.config.seed, Path(run.output.drawn).parent)
    write_dataset(tables, Path(run.output.images).parent, run.provenance)
