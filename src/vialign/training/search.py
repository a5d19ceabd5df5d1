"""The search for a learning rate: the same few candidates, steps and seed for every trained method, on validation."""

from collections.abc import Callable

import pandas as pd

from vialign.config import TrainingConfig
from vialign.objective import Objective, SplitData
from vialign.tables import SEARCH
from vialign.training.loop import train


def search_rates(
    build: Callable[[], Objective],
    train_data: SplitData,
    validation_data: SplitData,
    config: TrainingConfig,
    *,
    base_rate: float,
    seed: int,
) -> pd.DataFrame:
    """SEARCH: each candidate trained from the same start for the early steps, and the one that validation prefers.

    Of equal candidates the smallest rate is chosen: it changes the backbone least.
    """
    rows, steps = [], config.early_steps
    for rate in sorted(base_rate * factor for factor in config.search.factors):
        method = build()
        result = train(
            method, train_data, validation_data, config, peak_rate=rate, seed=seed, to_step=steps, looks={steps}
        )
        row = result.monitor.iloc[-1]
        rows.append(
            {
                "method": method.name,
                "learning_rate": rate,
                "seed": seed,
                "steps": steps,
                "recall": row["recall"],
                "negatives": row["negatives"],
                "score": row["recall"] if pd.isna(row["negatives"]) else (row["recall"] + row["negatives"]) / 2,
            }
        )
    table = pd.DataFrame(rows)
    table["chosen"] = table.index == table["score"].idxmax()
    return table[list(SEARCH.columns)]
