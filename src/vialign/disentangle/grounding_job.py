"""The pointing game on the phrases of Flickr30k Entities, in a run that names it."""

from pathlib import Path

from vialign.backbone import load_backbone
from vialign.data.benchmarks.flickr30k_entities import SPLIT
from vialign.data.folders import image_folders
from vialign.disentangle import load_visual
from vialign.disentangle.grounding import phrase_grounding
from vialign.features import read_images
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.data import IMAGES, OBJECTS
from vialign.tables.language import QUALITY


def point_phrases(run: Run) -> None:
    """The pointing game on the phrases of Flickr30k Entities, in a run that names it."""
    images = read_table(run.input.images, IMAGES)
    images = images[images["split"] == SPLIT].reset_index(drop=True)
    objects = read_table(run.input.objects, OBJECTS)
    found = phrase_grounding(
        load_backbone(run.config.backbone, run.config.seed),
        load_visual(run.input.visual),
        read_images(run.input.features),
        images,
        objects[objects["image_id"].isin(images["image_id"])],
        image_folders(run.config.data, Path(run.input.images).parent),
        batch=run.config.features.batch,
        domain=SPLIT,
        seed=run.config.seed,
    )
    print(found.to_string())
    write_table(found, QUALITY, run.output[0], run.provenance)
