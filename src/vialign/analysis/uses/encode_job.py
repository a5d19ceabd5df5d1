"""Dictionaries of few labelled images, as a job of the workflow."""

from vialign.analysis.attribution.dictionaries import encode_labelled
from vialign.analysis.attribution.encode_job import any_labelled, read_material, read_stores, write_each
from vialign.analysis.uses.names import labelled_name
from vialign.disentangle.types import Phrases, Prototypes
from vialign.stage import Run


def encode_few_labels(run: Run) -> None:
    """Every split as dictionaries that are told the boxes of fewer images encode it, and as one that is told all, each
    fitted by the seed of the wildcard; an empty folder where the data have no boxes.
    """
    config, seed, stores = run.config, int(run.wildcards.seed), read_stores(run)
    counts = (*config.uses.labels, None) if any_labelled(run) else ()
    source = {count: run.input.train_images if count == 0 else run.input.fitted for count in counts}
    materials = {images: read_material(run, stores, images) for images in dict.fromkeys(source.values())}
    encoded: dict[str, tuple[Prototypes, Phrases]] = {}
    for count, images in source.items():
        splits = encode_labelled(count, materials[images], config.visual, config.text, domain=config.name, seed=seed)
        encoded |= {f"{labelled_name(count)}_{split}": pair for split, pair in splits.items()}
    write_each(run, encoded)
