"""How often queries fail in each class, and how they move between classes when the frozen backbone is trained.

All numbers are shares of queries, not of failures, so that a method that fails less is not blamed for the mix of what
is left. Intervals come from the bootstrap of the comparisons (`vialign.evaluation.statistics`): images are resampled
with all their queries, the same for every method, and training seeds are reweighted. A count of zero, or of all, which
a bootstrap takes for certainty, gets Wilson's interval for as many trials as there are images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from vialign.evaluation.statistics import replicate_means, seed_weights, wilson_interval
from vialign.progress import track
from vialign.tables.failures import (
    FAILURE_CLASSES,
    FAILURE_MOVES,
    FAILURE_RATES,
    PHRASE_KINDS,
    QUERY_MEASURES,
    QUERY_STATES,
)

REFERENCE = "frozen"
"""What a change is counted from."""

_STATES, _KINDS = len(QUERY_STATES), len(PHRASE_KINDS)
_CELLS = 1 + len(FAILURE_CLASSES) * _KINDS
"""Solved, or failed in a class by a kind of phrase."""


@dataclass(frozen=True)
class Scope:
    """The queries of one benchmark, or of all benchmarks of a split."""

    benchmark: str
    cells: Int[np.ndarray, "query column"]
    """Cell of each query in each column: 0 for solved, else 1 + class * kinds + kind of phrase."""
    image: Int[np.ndarray, "query"]
    """Which image a query belongs to, from 0."""
    methods: dict[str, list[int]]
    """Columns of each method, one a training seed."""
    seeds: list[int]
    """Training seed of each column."""

    @property
    def images(self) -> int:
        """Images, the units that are resampled."""
        return int(self.image.max()) + 1

    def seeds_of(self, method: str) -> list[int]:
        """Training seeds of a method."""
        return [self.seeds[column] for column in self.methods[method]]


def query_scopes(outcomes: pd.DataFrame, failures: pd.DataFrame) -> Iterator[Scope]:
    """Every benchmark of FAILURES' splits and every split as a whole, with what became of each query.

    A query is an item of OUTCOMES; it is solved where FAILURES does not list it. Raises ValueError where two methods or
    seeds were not measured on the same items, or where a failure belongs to no query.
    """
    items = outcomes[outcomes["measure"].isin(QUERY_MEASURES)]
    items = items.drop_duplicates(["method", "seed", "benchmark", "item_id"])
    kind, failure = (
        pd.Categorical(failures[name], categories=values).codes.astype(np.int64)
        for name, values in (("phrase_kind", PHRASE_KINDS), ("failure", FAILURE_CLASSES))
    )
    keys = ["method", "seed", "benchmark", "item_id"]
    failed = failures[keys].assign(cell=1 + failure * _KINDS + kind)
    items = items.merge(failed, on=keys, how="left")
    if int(items["cell"].notna().sum()) != len(failed):
        raise ValueError("failures: some belong to no query of the outcomes")
    items["cell"] = items["cell"].fillna(0).astype(np.int64)
    splits = {name: name.split("/")[0] for name in items["benchmark"].unique()}
    for split, part in items.groupby(items["benchmark"].map(splits), sort=False):
        for benchmark, own in (*part.groupby("benchmark", sort=True), (f"{split}/all", part)):
            yield _scope(str(benchmark), own)


def _scope(benchmark: str, items: pd.DataFrame) -> Scope:
    wide = items.pivot(index=["benchmark", "item_id"], columns=["method", "seed"], values="cell")
    if wide.isna().any(axis=None):
        raise ValueError(f"{benchmark}: methods were not measured on the same items")
    image_of = items.drop_duplicates(["benchmark", "item_id"]).set_index(["benchmark", "item_id"])["image_id"]
    columns = cast(list[tuple[str, int]], wide.columns.tolist())
    methods: dict[str, list[int]] = {}
    for column, (method, _) in enumerate(columns):
        methods.setdefault(method, []).append(column)
    return Scope(
        benchmark=benchmark,
        cells=wide.to_numpy(np.int64),
        image=pd.factorize(image_of.loc[wide.index])[0].astype(np.int64),
        methods=methods,
        seeds=[int(seed) for _, seed in columns],
    )


def failure_tables(
    outcomes: pd.DataFrame, failures: pd.DataFrame, *, draws: int, level: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """FAILURE_RATES and FAILURE_MOVES of OUTCOMES whose failed queries FAILURES explains.

    `draws` resamples, intervals with coverage 1 - level. Without the frozen backbone among the methods there are no
    changes and no moves.
    """
    rates, moves = [FAILURE_RATES.empty()], [FAILURE_MOVES.empty()]
    for scope in track(list(query_scopes(outcomes, failures)), "failures: rates and moves"):
        cells, pairs = _bootstrapped(scope, draws, seed)
        rates.append(_rates(scope, cells, level))
        if pairs is not None:
            moves.extend(_moves(scope, method, pairs, level) for method in scope.methods if method != REFERENCE)
    return FAILURE_RATES.check(_together(rates)), FAILURE_MOVES.check(_together(moves))


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


@dataclass(frozen=True)
class _Bootstrapped:
    """Shares of queries by code, of every method over its seeds, and their resamples."""

    value: dict[str, Float[np.ndarray, "code"]]
    drawn: dict[str, Float[np.ndarray, "draw code"]]


def _bootstrapped(scope: Scope, draws: int, seed: int) -> tuple[_Bootstrapped, _Bootstrapped | None]:
    """Shares of the cells, and of the pairs of states before and after training where there is a reference.

    Both come from the same resamples of the images.
    """
    parts = [_one_hot(scope, scope.cells, _CELLS)]
    if REFERENCE in scope.methods:
        states = (scope.cells + _KINDS - 1) // _KINDS
        # The frozen backbone has nothing to train, so one seed of it stands for all.
        before = states[:, scope.methods[REFERENCE][:1]]
        parts.append(_one_hot(scope, before * _STATES + states, _STATES**2))
    sums = np.concatenate([part.reshape(scope.images, -1) for part in parts], axis=1)
    queries = np.bincount(scope.image, minlength=scope.images).astype(np.float64)
    drawn = replicate_means(sums[:, :, None], queries[:, None], draws, seed)[:, :, 0]
    found, start = [], 0
    for part in parts:
        columns, codes = part.shape[1:]
        own = drawn[:, start : start + columns * codes].reshape(draws, columns, codes)
        start += columns * codes
        value = part.sum(axis=0) / len(scope.cells)
        found.append(
            _Bootstrapped(
                {method: value[places].mean(axis=0) for method, places in scope.methods.items()},
                {
                    method: np.einsum("rc,rcg->rg", seed_weights(scope.seeds_of(method), draws, seed), own[:, places])
                    for method, places in scope.methods.items()
                },
            )
        )
    return found[0], found[1] if len(found) == 2 else None


def _one_hot(
    scope: Scope, codes: Int[np.ndarray, "query column"], count: int
) -> Float[np.ndarray, "image column code"]:
    """Queries of each image and column that have each code."""
    columns = [np.bincount(scope.image * count + column, minlength=scope.images * count) for column in codes.T]
    return np.stack([column.reshape(scope.images, count) for column in columns], axis=1).astype(np.float64)


def _rates(scope: Scope, cells: _Bootstrapped, level: float) -> pd.DataFrame:
    """FAILURE_RATES of one scope."""
    names, sums = _groups()
    # Every row of the table is a sum of cells, and so are its resamples.
    mean = {method: value @ sums for method, value in cells.value.items()}
    over = {method: drawn @ sums for method, drawn in cells.drawn.items()}
    frames = []
    for method in scope.methods:
        low, high = _ends(mean[method], over[method], scope.images, level)
        with np.errstate(invalid="ignore"):
            share = mean[method] / mean[method][:1]
            share_low, share_high = _quantiles(over[method] / over[method][:, :1], level)
        change, change_low, change_high = np.full((3, len(names)), np.nan)
        if REFERENCE in scope.methods and method != REFERENCE:
            change = mean[method] - mean[REFERENCE]
            change_low, change_high = _difference_ends(over[method] - over[REFERENCE], scope.images, level)
        frames.append(
            pd.DataFrame(
                {
                    "method": method,
                    "benchmark": scope.benchmark,
                    "phrase_kind": [kind for _, kind in names],
                    "failure": [failure for failure, _ in names],
                    "queries": len(scope.cells),
                    "images": scope.images,
                    "seeds": len(scope.methods[method]),
                    "count": mean[method] * len(scope.cells),
                    "rate": mean[method],
                    "low": low,
                    "high": high,
                    "share": share,
                    "share_low": np.minimum(share_low.clip(0, 1), share),
                    "share_high": np.maximum(share_high.clip(0, 1), share),
                    "change": change,
                    "change_low": change_low,
                    "change_high": change_high,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _groups() -> tuple[list[tuple[str, str]], Float[np.ndarray, "cell group"]]:
    """The classes and kinds of phrase of FAILURE_RATES, all failures first, and which cells each adds up."""
    names = [(failure, kind) for failure in ("all", *FAILURE_CLASSES) for kind in ("all", *PHRASE_KINDS)]
    cells = [(failure, kind) for failure in FAILURE_CLASSES for kind in PHRASE_KINDS]
    sums = np.zeros((_CELLS, len(names)))
    for group, (failure, kind) in enumerate(names):
        for cell, (own_failure, own_kind) in enumerate(cells, start=1):
            sums[cell, group] = failure in ("all", own_failure) and kind in ("all", own_kind)
    return names, sums


def _moves(scope: Scope, method: str, pairs: _Bootstrapped, level: float) -> pd.DataFrame:
    """FAILURE_MOVES of one scope and method."""
    mean, over = pairs.value[method], pairs.drawn[method]
    low, high = _ends(mean, over, scope.images, level)
    opposite = np.arange(_STATES**2).reshape(_STATES, _STATES).T.ravel()
    net_low, net_high = _difference_ends(over - over[:, opposite], scope.images, level)
    moved = ~np.eye(_STATES, dtype=bool).ravel()
    return pd.DataFrame(
        {
            "method": method,
            "benchmark": scope.benchmark,
            "before": np.repeat(QUERY_STATES, _STATES),
            "after": np.tile(QUERY_STATES, _STATES),
            "queries": len(scope.cells),
            "count": mean * len(scope.cells),
            "share": mean,
            "low": low,
            "high": high,
            "net": np.where(moved, mean - mean[opposite], np.nan),
            "net_low": np.where(moved, net_low, np.nan),
            "net_high": np.where(moved, net_high, np.nan),
        }
    )


def _quantiles(
    drawn: Float[np.ndarray, "draw group"], level: float
) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group"]]:
    """Percentile interval over the resamples in which there is something to divide by."""
    usable = np.isfinite(drawn).all(axis=1)
    if not usable.any():
        return np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    low, high = np.quantile(drawn[usable], [level / 2, 1 - level / 2], axis=0)
    return low, high


def _ends(
    value: Float[np.ndarray, "group"], drawn: Float[np.ndarray, "draw group"], images: int, level: float
) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group"]]:
    """Interval of shares; Wilson's where there is none or all."""
    low, high = _quantiles(drawn, level)
    for share in (0.0, 1.0):
        low[value == share], high[value == share] = wilson_interval(share * images, images, level)
    # Reweighted seeds can leave [0, 1] by a hair.
    return np.minimum(low.clip(0, 1), value), np.maximum(high.clip(0, 1), value)


def _difference_ends(
    drawn: Float[np.ndarray, "draw group"], images: int, level: float
) -> tuple[Float[np.ndarray, "group"], Float[np.ndarray, "group"]]:
    """Interval of paired differences; where no resample has any, as far as Wilson's interval of none reaches."""
    low, high = _quantiles(drawn, level)
    same = (drawn == 0).all(axis=0)
    reach = wilson_interval(0, images, level)[1]
    low[same], high[same] = -reach, reach
    return low.clip(-1, 1), high.clip(-1, 1)
