"""C in worlds of known mutual information."""

from vialign.analysis.theory import theory
from vialign.files.artifacts import write_table
from vialign.stage import Run
from vialign.tables.theory import THEORY, THEORY_TRENDS


def measure_worlds(run: Run) -> None:
    """C in worlds of known mutual information, and whether it follows that."""
    table, trends = theory(seed=run.config.seed, level=run.config.evaluation.level)
    write_table(table, THEORY, run.output.theory, run.provenance)
    write_table(trends, THEORY_TRENDS, run.output.trends, run.provenance)
