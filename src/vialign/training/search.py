"""The search for a learning rate: the same few candidates, steps and seed for every trained method, on selection."""

import sys
from collections.abc import Callable
from typing import Any

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

    While that is the smallest or the largest, the grid is widened beyond it, at most `search.widen` times: a best rate
    at the edge says only that a better one may lie outside. Of equal candidates the smallest rate is chosen: it changes
    the backbone least. One that diverges is out. Raises UserError when all of them do.
    """
    tried: dict[float, dict[str, Any]] = {}

    def attempt(rate: float) -> None:
        tried[rate] = _candidate(build(), train_data, selection_data, config, rate, seed)

    for rate in sorted(base_rate * factor for factor in config.search.factors):
        attempt(rate)
    for _ in range(config.search.widen):
        beyond = _beyond(tried)
        if beyond is None:
            break
        attempt(beyond)
    table = pd.DataFrame([tried[rate] for rate in sorted(tried)])
    scores = table["score"].astype(float)
    if scores.isna().all():
        raise UserError(
            f"training.learning_rates: {table['method'].iloc[0]} diverges at every candidate from "
            f"{table['learning_rate'].iloc[0]:g} up; set a smaller rate"
        )
    table["chosen"] = table.index == scores.idxmax()
    return table[list(SEARCH.columns)]


def _beyond(tried: dict[float, dict[str, Any]]) -> float | None:
    """The next candidate outside of an edge that is best; None where the best has neighbours on both sides."""
    rates = sorted(tried)
    scores = [tried[rate]["score"] for rate in rates]
    if len(rates) < 2 or all(score is None for score in scores):
        return None
    best = max(range(len(rates)), key=lambda place: (scores[place] is not None, scores[place] or 0.0, -place))
    if best == 0:
        return rates[0] ** 2 / rates[1]
    return rates[-1] ** 2 / rates[-2] if best == len(rates) - 1 else None


def _candidate(
    method: Objective, train_data: SplitData, selection_data: SplitData, config: TrainingConfig, rate: float, seed: int
) -> dict[str, Any]:
    """A row of SEARCH, but for whether it is chosen."""
    steps = config.early_steps
    row = {"method": method.name, "learning_rate": rate, "seed": seed, "steps": steps}
    try:
        result = train(
            method, train_data, selection_data, config, peak_rate=rate, seed=seed, to_step=steps, looks={steps}
        )
    except Diverged as error:
        print(f"vialign: learning rate {rate:g} is out: {error}", file=sys.stderr)
        return {**row, "recall": None, "negatives": None, "score": None}
    seen = result.monitor.iloc[-1]
    return {**row, "recall": seen["recall"], "negatives": seen["negatives"], "score": result.checkpoint.best_score}
