"""The features of one split, from what the jobs of its shards made."""

from vialign.features.store import join_stores
from vialign.stage import Run


def gather_features(run: Run) -> None:
    """The features of one split, from those of its shards."""
    for kind, folder in run.output.items():
        join_stores(run.input[kind], folder, run.provenance)
