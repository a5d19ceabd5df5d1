"""The signal gate of a run."""

import pandas as pd

from vialign.files.artifacts import read_table, write_table
from vialign.gates.signal import signal_verdict
from vialign.signal.references import with_references
from vialign.stage import Run
from vialign.tables.gates import VERDICT
from vialign.tables.signal import (
    DIAGNOSIS,
    PROBE,
    REFERENCES,
    SIGNAL_CALIBRATION,
    SIGNAL_CONTROLS,
    SIGNAL_SCORES,
    STRESS_SUMMARY,
)


def judge_signal(run: Run) -> None:
    """The verdict on a run's signal, with its controls."""
    files, references = run.input, read_table(run.input.references, REFERENCES)
    controls = read_table(files.controls, SIGNAL_CONTROLS).groupby("control", sort=False)
    table = signal_verdict(
        with_references(read_table(files.scores, SIGNAL_SCORES), references),
        read_table(files.calibration, SIGNAL_CALIBRATION),
        read_table(files.diagnosis, DIAGNOSIS),
        read_table(files.probe, PROBE),
        read_table(files.stress, STRESS_SUMMARY),
        pd.concat([with_references(part, references) for _, part in controls]),
        run.config.signal,
        run.config.gates.signal,
        run.config.seed,
    )
    print(table[["criterion", "value", "low", "high", "met", "required", "action"]].to_string())
    write_table(table, VERDICT, run.output[0], run.provenance)
