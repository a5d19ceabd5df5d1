"""The budget gate of a run."""

from vialign.files.artifacts import read_table, write_table
from vialign.gates.budget import budget_verdict
from vialign.stage import Run
from vialign.tables.gates import BUDGET, VERDICT


def judge_budget(run: Run) -> None:
    """The verdict on a run's ledger."""
    table = budget_verdict(read_table(run.input.ledger, BUDGET), run.config.gates.budget, run.config.budget)
    write_table(table, VERDICT, run.output[0], run.provenance)
