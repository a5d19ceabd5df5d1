"""The early gate of a run."""

from vialign.device import within_memory
from vialign.files.artifacts import read_table, write_table
from vialign.gates.early import early_verdict
from vialign.signal.validation.monitoring import early_warning, monitoring
from vialign.stage import Run
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.gates import VERDICT
from vialign.tables.training import MONITORING, SIGNAL_MONITOR
from vialign.training.outcomes import checkpoint_outcomes
from vialign.training.records import read_records


@within_memory("data.sizes")
def measure_early(run: Run) -> None:
    """The full model and its reference at the early check, on images that nothing else reads."""
    outcomes = checkpoint_outcomes(
        run,
        [*run.input.full, *run.input.reference],
        "gate",
        weights="weights",
        negatives=run.config.training.negatives > 0,
    )
    write_table(outcomes, OUTCOMES, run.output[0], run.provenance)


def judge_early(run: Run) -> None:
    """The early gate of a run."""
    outcomes = read_table(run.input.outcomes, OUTCOMES)
    checks = read_records(run.input.monitor, SIGNAL_MONITOR)
    config, settings = run.config, run.config.evaluation
    warning = early_warning(checks, config.training.monitor, settings.level, config.seed)
    table = early_verdict(outcomes.reset_index(drop=True), warning, config.gates.early, settings.level)
    write_table(table, VERDICT, run.output[0], run.provenance)
    rolling = monitoring(checks, config.training.monitor, settings.level, config.seed)
    write_table(rolling, MONITORING, run.output.monitoring, run.provenance)
