"""The early gate of a run."""

import pandas as pd

from vialign.files.artifacts import read_table, write_table
from vialign.gates.early import early_verdict
from vialign.signal.validation.monitoring import early_warning, monitoring
from vialign.stage import Run
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.gates import VERDICT
from vialign.tables.training import MONITORING, SIGNAL_MONITOR
from vialign.training.records import read_records


def judge_early(run: Run) -> None:
    """The early gate of a run."""
    outcomes = pd.concat([read_table(path, OUTCOMES) for path in [*run.input.full, *run.input.reference]])
    checks = read_records(run.input.monitor, SIGNAL_MONITOR)
    config, settings = run.config, run.config.evaluation
    warning = early_warning(checks, config.training.monitor, settings.level, config.seed)
    table = early_verdict(outcomes.reset_index(drop=True), warning, config.gates.early, settings.level)
    write_table(table, VERDICT, run.output[0], run.provenance)
    rolling = monitoring(checks, config.training.monitor, settings.level, config.seed)
    write_table(rolling, MONITORING, run.output.monitoring, run.provenance)
