"""How the signal and the selection metric moved together in the trainings of a run."""

from vialign.files.artifacts import write_table
from vialign.signal.validation.monitoring import monitoring
from vialign.stage import Run
from vialign.tables.training import MONITORING, SIGNAL_MONITOR
from vialign.training.records import read_records


def follow_signal(run: Run) -> None:
    """How mean C and the selection metric moved together, from the light checks of every training."""
    config = run.config
    checks = read_records(run.input.checks, SIGNAL_MONITOR)
    table = monitoring(checks, config.training.monitor, config.evaluation.level, config.seed)
    write_table(table, MONITORING, run.output[0], run.provenance)
