"""The explicit regions of one split of a run."""

from vialign.backbone import load_backbone
from vialign.features import read_images
from vialign.features.regions import make_regions
from vialign.files.artifacts import read_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS


def write_regions(run: Run) -> None:
    """The explicit regions of the images of one split."""
    make_regions(
        run.config.data,
        read_table(run.input.images, IMAGES),
        read_table(run.input.objects, OBJECTS),
        read_images(run.input.features),
        load_backbone(run.config.backbone, run.config.seed),
        run.output[0],
        run.provenance,
    )
