"""Results of all methods, and their paired differences."""

import pandas as pd

from vialign.evaluation.compare import (
    comparison_table,
    family_pairs,
    published_tag_rules,
    reference_pairs,
    results_table,
)
from vialign.evaluation.conventions import compared_outcomes
from vialign.files.artifacts import read_table, write_table
from vialign.stage import Run
from vialign.tables.evaluation import COMPARISONS, OUTCOMES, RANKS, RESULTS


def compare_methods(run: Run) -> None:
    """Results of all methods, and their paired differences."""
    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    settings = run.config.evaluation
    methods, own = list(dict.fromkeys(outcomes["method"])), run.params.own
    results = results_table(outcomes, settings.level, published_tag_rules())
    comparisons = comparison_table(
        compared_outcomes(outcomes),
        family_pairs(methods, [name for name in own if name in methods]) if own else reference_pairs(methods),
        settings.level,
    )
    ranks = pd.concat([read_table(path, RANKS) for path in run.input.ranks], ignore_index=True)
    write_table(ranks, RANKS, run.output.ranks, run.provenance)
    write_table(results, RESULTS, run.output.results, run.provenance)
    write_table(comparisons, COMPARISONS, run.output.comparisons, run.provenance)
