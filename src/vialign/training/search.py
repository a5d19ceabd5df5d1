"""The search for a learning rate: the same few candidates, steps and seed for every trained method, on selection."""

import sys
from collections.abc import Callable

import pandas as pd

from vialign.config.methods import TrainingConfig
from vialign.errors import UserError
from vialign.methods.objective import Objective, SplitData
from vialign.tables.training import SEARCH
from vialign.training.loop import Diverged, train


def search_rates(
    build: Callable[[], Objective],
    train_data: SplitData,
    selection_data: SplitData,
    config: TrainingConfig,
    *,
    base_rate: float,
    seed: int,
) -> pd.DataFrame:
    """SEARCH: each candidate trained from the same start for the early steps, and the one that selection prefers.

    Of equal candidates the smallest rate is chosen: it changes the backbone least. One that diverges is out. Raises
    UserError when all of them do.
    """
    rows, steps = [], config.early_steps
    for rate in sorted(base_rate * factor for factor in config.search.factors):
        method = build()
        found: dict[str, float | None] = {"recall": None, "negatives": None, "score": None}
        try:
            result = train(
                method, train_data, selection_data, config, peak_rate=rate, seed=seed, to_step=steps, looks={steps}
            )
        except Diverged as error:
            print(f"vialign: learning rate {rate:g} is out: {error}", file=sys.stderr)
        else:
            row = result.monitor.iloc[-1]
            found = {"recall": row["recall"], "negatives": row["negatives"], "score": result.checkpoint.best_score}
        rows.append({"method": method.name, "learning_rate": rate, "seed": seed, "steps": steps, **found})
    table = pd.DataFrame(rows)
    scores = table["score"].astype(float)
    if scores.isna().all():
        raise UserError(
            f"training.learning_rates: {rows[0]['method']} diverges at every candidate from "
            f"{rows[0]['learning_rate']:g} up; set a smaller rate"
        )
    table["chosen"] = table.index == scores.idxmax()
    return table[list(SEARCH.columns)]
