"""Phrase units of a run's backbone in other kinds of text."""

from vialign.backbone import load_backbone
from vialign.disentangle.domains import study_domains
from vialign.files.artifacts import write_table
from vialign.language.domains import read_domains
from vialign.stage import Run
from vialign.tables.language import SPANS


def measure_domains(run: Run) -> None:
    """Phrases found in drawn captions and in every treebank of `language.domains`, by what was learned from."""
    spans = study_domains(
        read_domains(run.config.language, run.config.seed),
        load_backbone(run.config.backbone, run.config.seed),
        run.config.text,
        epochs=run.config.language.epochs,
        seed=run.config.seed,
    )
    write_table(spans, SPANS, run.output[0], run.provenance)
