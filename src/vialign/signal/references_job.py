"""Simpler signals of a run's diagnosed pairs."""

from functools import partial

from vialign.backbone import load_backbone
from vialign.features import read_images, read_texts
from vialign.files.artifacts import read_table, write_table
from vialign.signal.blind import fit_blind
from vialign.signal.references import encode_words, score_references
from vialign.stage import Run
from vialign.tables.language import TEXTS, UNITS
from vialign.tables.signal import REFERENCES, SIGNAL_SCORES


def score_simpler(run: Run) -> None:
    """Every reference signal of the diagnosed pairs; the blind one learns from the texts of the training split."""
    table = score_references(
        read_table(run.input.scores, SIGNAL_SCORES),
        read_images(run.input.image_features),
        read_texts(run.input.text_features),
        read_table(run.input.texts, TEXTS),
        read_table(run.input.units, UNITS),
        partial(encode_words, load_backbone(run.config.backbone, run.config.seed)),
        fit_blind(read_table(run.input.train_texts, TEXTS), run.config.seed),
    )
    write_table(table, REFERENCES, run.output[0], run.provenance)
