"""Dictionaries of few labelled images, as a job of the workflow."""

from vialign.analysis.attribution.dictionaries import encode_labelled
from vialign.analysis.attribution.encode_job import read_material, read_stores, write_each
from vialign.analysis.uses.names import labelled_name
from vialign.stage import Run


def encode_few_labels(run: Run) -> None:
    """Every split as dictionaries that are told the boxes of fewer images encode it, and as one that is told all, each
    fitted by the seed of the wildcard; an empty folder where the data have no boxes.
    """
    config, seed = run.config, int(run.wildcards.seed)
    material = read_material(run, read_stores(run))
    encoded = {}
    for count in (*config.uses.labels, None):
        if material is not None:
            splits = encode_labelled(count, material, config.visual, config.text, domain=config.name, seed=seed)
            encoded |= {f"{labelled_name(count)}_{split}": pair for split, pair in splits.items()}
    write_each(run, encoded)
