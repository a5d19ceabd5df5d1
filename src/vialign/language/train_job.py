"""The parser of a run: trained, measured and written."""

from vialign.files.artifacts import read_table, write_table
from vialign.language.pipeline import save_pipeline
from vialign.language.stage import train_language
from vialign.stage import Run
from vialign.tables.data import CAPTIONS, IMAGES
from vialign.tables.language import QUALITY


def train_parser(run: Run) -> None:
    """The parser of a run: trained, measured and written."""
    captions, images = read_table(run.input.captions, CAPTIONS), read_table(run.input.images, IMAGES)
    nlp, quality = train_language(run.config.language, captions, images, run.config.seed)
    save_pipeline(nlp, run.output.pipeline, run.provenance)
    write_table(quality, QUALITY, run.output.quality, run.provenance)
