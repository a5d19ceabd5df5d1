"""Stepwise removal of the curriculum modules: every subset, the backward-elimination path, each module's contribution.

It reads the selection outcomes of all subsets after early training, on the same queries and seeds, so every
difference is paired: images are resampled with all their queries, seeds as the second level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Float

from vialign.catalogue import MODULES, SUBSETS, method_name
from vialign.errors import UserError
from vialign.evaluation.statistics import interval, replicate_means, seed_weights
from vialign.tables.gates import ABLATION, CONTRIBUTIONS

MEASURES = ("recall", "negatives", "score")
_QUERIES = (("image_to_text", "r1"), ("text_to_image", "r1"), ("negatives", "accuracy"))
"""Benchmarks and measures of OUTCOMES that the selection score is made of."""

Modules = frozenset[str]


@dataclass(frozen=True)
class Scores:
    """What each subset reached, and its bootstrap replicates; last axis as `MEASURES`."""

    point: dict[Modules, Float[np.ndarray, "3"]]
    replicates: dict[Modules, Float[np.ndarray, "replicate 3"]]


def ablation_tables(
    outcomes: pd.DataFrame, *, bootstrap: int, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(ABLATION, CONTRIBUTIONS) from the selection OUTCOMES of all eight subsets, each with the same seeds.

    Rows of other methods and measures are left out. The chosen combination has the highest mean score; of several with
    the same score, the one with the fewest modules. `level` is the error of the intervals. Raises UserError when a
    subset is missing or was trained with other seeds.
    """
    scores = subset_scores(outcomes, bootstrap, seed)
    total = {subset: float(value[2]) for subset, value in scores.point.items()}
    path = elimination_path(total)
    chosen = max(total, key=lambda subset: (total[subset], -len(subset)))
    rows = []
    for name, modules in SUBSETS.items():
        subset = frozenset(modules)
        low, high = interval(scores.replicates[subset][:, 2], level)
        rows.append(
            {
                "method": name,
                **{module: module in subset for module in MODULES},
                **dict(zip(MEASURES, scores.point[subset], strict=True)),
                "low": np.clip(low, 0, 1),
                "high": np.clip(high, 0, 1),
                "path": path.index(subset) if subset in path else -1,
                "chosen": subset == chosen,
            }
        )
    return ABLATION.check(pd.DataFrame(rows)), _contributions(scores, level)


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


def subset_scores(outcomes: pd.DataFrame, bootstrap: int, seed: int) -> Scores:
    """Recall, accuracy against negatives and their mean for every subset; means over queries, then over seeds."""
    outcomes = outcomes[outcomes["method"].isin(SUBSETS)]
    outcomes = outcomes.assign(query=_query_kind(outcomes)).dropna(subset="query")
    seeds = _common_seeds(outcomes)
    clusters, kinds = sorted(outcomes["image_id"].unique()), range(len(_QUERIES))
    order = pd.MultiIndex.from_product([clusters, list(SUBSETS), seeds, kinds])
    shape = (len(clusters), len(SUBSETS), len(seeds), len(kinds))
    by_image = outcomes.groupby(["image_id", "method", "seed", "query"])["value"]
    sums = by_image.sum().reindex(order, fill_value=0.0).to_numpy().reshape(shape)
    counts = by_image.count().reindex(order, fill_value=0).to_numpy().reshape(shape)
    if not (counts == counts[:, :1, :1]).all():
        raise UserError("ablation: the subsets were not evaluated on the same selection queries; evaluate them again")
    counts = counts[:, 0, 0].astype(np.float64)  # (image, kind of query), the same for all
    with np.errstate(invalid="ignore"):
        point = (sums.sum(axis=0) / counts.sum(axis=0)).mean(axis=1)
    means = replicate_means(sums.reshape(len(clusters), -1, len(kinds)), counts, bootstrap, seed)
    weights = seed_weights(seeds, bootstrap, seed)
    means = np.einsum("rmsk,rs->rmk", means.reshape(bootstrap, *shape[1:]), weights)
    subsets = [frozenset(modules) for modules in SUBSETS.values()]
    return Scores(
        dict(zip(subsets, _measures(point), strict=True)),
        dict(zip(subsets, _measures(means).transpose(1, 0, 2), strict=True)),
    )


def _query_kind(outcomes: pd.DataFrame) -> pd.Series:
    benchmark = outcomes["benchmark"].str.rsplit("/", n=1).str[-1]
    kind = pd.Series(np.nan, index=outcomes.index)
    for number, (name, measure) in enumerate(_QUERIES):
        kind[(benchmark == name) & (outcomes["measure"] == measure)] = number
    return kind


def _common_seeds(outcomes: pd.DataFrame) -> list[int]:
    found = {name: set(part["seed"]) for name, part in outcomes.groupby("method")}
    for name in SUBSETS:
        if name not in found:
            raise UserError(f"ablation: no selection outcomes of {name!r}; train it to the early check first")
        if found[name] != found[method_name(MODULES)]:
            raise UserError(f"ablation: {name!r} has other seeds than the full model; train all subsets with the same")
    return sorted(found[method_name(MODULES)])


def _measures(means: Float[np.ndarray, "*rest 3"]) -> Float[np.ndarray, "*rest 3"]:
    """Recall, negatives (nan without any) and score, from the means of the three kinds of query."""
    recall, negatives = means[..., :2].mean(axis=-1), means[..., 2]
    score = np.where(np.isnan(negatives), recall, (recall + negatives) / 2)
    return np.stack([recall, negatives, score], axis=-1)


def _contributions(scores: Scores, level: float) -> pd.DataFrame:
    everything = frozenset(MODULES)
    rows = []
    for module in MODULES:
        rest = everything - {module}
        low, high = interval(scores.replicates[everything] - scores.replicates[rest], level)
        for number, measure in enumerate(MEASURES):
            score = {subset: float(value[number]) for subset, value in scores.point.items()}
            if np.isnan(score[everything]):
                continue
            rows.append(
                {
                    "module": module,
                    "measure": measure,
                    "removal": score[everything] - score[rest],
                    "low": low[number],
                    "high": high[number],
                    "shapley": shapley_value(module, score),
                }
            )
    return CONTRIBUTIONS.check(pd.DataFrame(rows))
