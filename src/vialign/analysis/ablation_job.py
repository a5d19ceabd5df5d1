"""The ablation over all subsets of the modules."""

import pandas as pd

from vialign.analysis.ablation import ablation_tables
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.evaluation import OUTCOMES
from vialign.tables.gates import ABLATION, CONTRIBUTIONS


def compare_subsets(run: Run) -> None:
    """The ablation over all subsets of the modules."""
    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    ablation, contributions = ablation_tables(outcomes, level=run.config.evaluation.level)
    write_table(ablation, ABLATION, run.output.ablation, run.provenance)
    write_table(contributions, CONTRIBUTIONS, run.output.contributions, run.provenance)
