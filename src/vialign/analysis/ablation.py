"""Stepwise removal of the curriculum modules: every subset, the backward-elimination path, each module's contribution.

It reads the selection outcomes of all subsets after early training, on the same queries and seeds, so every
difference is paired. Intervals are those of the two-level model of images and seeds (`vialign.evaluation.two_level`).
"""

from collections.abc import Mapping
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from vialign.catalogue import MODULES, SUBSETS, method_name
from vialign.errors import UserError
from vialign.evaluation.core_score import CoreScores, core_scores
from vialign.evaluation.two_level import Estimates, two_level
from vialign.tables.gates import ABLATION, CONTRIBUTIONS

MEASURES = ("recall", "negatives", "score")

Modules = frozenset[str]


def ablation_tables(outcomes: pd.DataFrame, *, level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(ABLATION, CONTRIBUTIONS) from the selection OUTCOMES of all eight subsets, each with the same seeds.

    Rows of other methods and measures are left out. The chosen combination has the highest mean score; of several with
    the same score, the one with the fewest modules. `level` is the error of the intervals. Raises UserError when a
    subset is missing, was trained with other seeds or was not evaluated on the same queries.
    """
    scores = subset_scores(outcomes)
    reached = {
        part: two_level(values, [scores.mean(name) for name in SUBSETS]) for part, values in scores.parts.items()
    }
    point = {part: _by_subset(found) for part, found in reached.items()}
    total = point["score"]
    path = elimination_path(total)
    chosen = max(total, key=lambda subset: (total[subset], -len(subset)))
    rows = []
    for name, modules, low, high in zip(SUBSETS, SUBSETS.values(), *reached["score"].interval(level), strict=True):
        subset = frozenset(modules)
        rows.append(
            {
                "method": name,
                **{module: module in subset for module in MODULES},
                **{part: point[part][subset] if part in point else np.nan for part in MEASURES},
                "low": np.clip(low, 0, 1),
                "high": np.clip(high, 0, 1),
                "path": path.index(subset) if subset in path else -1,
                "chosen": subset == chosen,
            }
        )
    return ABLATION.check(pd.DataFrame(rows)), _contributions(scores, point, level)


def elimination_path(score: Mapping[Modules, float]) -> list[Modules]:
    """From the full model to none, each time without the module whose removal leaves the best score."""
    path = [frozenset(MODULES)]
    while path[-1]:
        options = [path[-1] - {module} for module in MODULES if module in path[-1]]
        path.append(max(options, key=lambda subset: score[subset]))
    return path


def shapley_value(module: str, score: Mapping[Modules, float]) -> float:
    """Mean gain from adding the module, over all orders in which the modules may be added (Shapley 1953)."""
    others = [other for other in MODULES if other != module]
    value = 0.0
    for size in range(len(others) + 1):
        weight = 1 / (len(MODULES) * comb(len(others), size))
        for chosen in combinations(others, size):
            value += weight * (score[frozenset(chosen) | {module}] - score[frozenset(chosen)])
    return value


def subset_scores(outcomes: pd.DataFrame) -> CoreScores:
    """Recall, accuracy against negatives and their mean for every subset, each with the same seeds."""
    outcomes = outcomes[outcomes["method"].isin(SUBSETS)]
    _check_seeds(outcomes)
    return core_scores(outcomes)


def _check_seeds(outcomes: pd.DataFrame) -> None:
    found = {name: set(part["seed"]) for name, part in outcomes.groupby("method")}
    for name in SUBSETS:
        if name not in found:
            raise UserError(f"ablation: no selection outcomes of {name!r}; train it to the early check first")
        if found[name] != found[method_name(MODULES)]:
            raise UserError(f"ablation: {name!r} has other seeds than the full model; train all subsets with the same")


def _by_subset(found: Estimates) -> dict[Modules, float]:
    """Value of each subset, rounded far below what one query can change, so that equal scores are equal."""
    return dict(zip(map(frozenset, SUBSETS.values()), found.value.round(12).tolist(), strict=True))


def _contributions(scores: CoreScores, point: Mapping[str, Mapping[Modules, float]], level: float) -> pd.DataFrame:
    everything = frozenset(MODULES)
    contrasts = [
        scores.difference(method_name(MODULES), method_name([other for other in MODULES if other != module]))
        for module in MODULES
    ]
    rows = []
    for measure in MEASURES:
        if measure not in scores.parts:
            continue
        found, score = two_level(scores.parts[measure], contrasts), point[measure]
        for module, low, high in zip(MODULES, *found.interval(level), strict=True):
            rows.append(
                {
                    "module": module,
                    "measure": measure,
                    "removal": score[everything] - score[everything - {module}],
                    "low": low,
                    "high": high,
                    "shapley": shapley_value(module, score),
                }
            )
    table = pd.DataFrame(rows).sort_values("module", key=lambda names: names.map(MODULES.index), kind="stable")
    return CONTRIBUTIONS.check(table)
