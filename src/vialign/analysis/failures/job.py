"""Failures of every method on every test split: classed, counted and followed."""

import pandas as pd

from vialign.analysis.failures.classes import classify_failures, fit_thresholds
from vialign.analysis.failures.rates import failure_tables
from vialign.files.artifacts import read_table, write_table
from vialign.methods.inputs import read_split
from vialign.methods.objective import SplitData
from vialign.stage import Run
from vialign.tables.data import CHOICES, QUESTIONS
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.failures import FAILURE_MOVES, FAILURE_RATES, FAILURES
from vialign.tables.language import UNITS


def find_failures(run: Run) -> None:
    """Failures of every method on every test split: classed, counted and followed."""
    parts = ("texts", "image_features", "text_features", "encoded")

    def read(split: str) -> SplitData:
        return read_split(*(run.input[f"{split}_{part}"] for part in parts))

    thresholds = fit_thresholds(read("selection"), run.config.analysis)
    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    items = read_table(run.input.choices, CHOICES), read_table(run.input.questions, QUESTIONS)
    failures = pd.concat(
        [
            classify_failures(outcomes, read(split), *items, read_table(path, UNITS), thresholds, split)
            for split, path in zip(run.config.test_splits, run.input.units, strict=True)
        ],
        ignore_index=True,
    )
    settings = run.config.evaluation
    rates, moves = failure_tables(
        outcomes, failures, draws=settings.bootstrap, level=settings.level, seed=run.config.seed
    )
    write_table(failures, FAILURES, run.output.failures, run.provenance)
    write_table(rates, FAILURE_RATES, run.output.rates, run.provenance)
    write_table(moves, FAILURE_MOVES, run.output.moves, run.provenance)
