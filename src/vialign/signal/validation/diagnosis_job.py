"""The diagnosis of a run's signal."""

from vialign.files.artifacts import read_table, write_table
from vialign.signal.references import with_references
from vialign.signal.validation.diagnosis import diagnose
from vialign.stage import Run
from vialign.tables.signal import DIAGNOSIS, REFERENCES, SIGNAL_SCORES


def diagnose_signal(run: Run) -> None:
    """How each signal, and each reference, tells aligned from other pairs."""
    references = read_table(run.input.references, REFERENCES)
    scores = with_references(read_table(run.input.scores, SIGNAL_SCORES), references)
    table = diagnose(scores, run.config.signal, run.config.gates.signal.level, run.config.seed)
    write_table(table, DIAGNOSIS, run.output[0], run.provenance)
