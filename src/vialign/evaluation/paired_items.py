"""Outcomes of several models on the same items: what differs, how surely, and which items changed sides."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from vialign.evaluation.compare import comparison_table, results_table
from vialign.evaluation.long_form import retold_measures
from vialign.evaluation.statistics import holm

ALL = "all"
"""The group of every item."""


@dataclass(frozen=True)
class Paired:
    """The outcomes of every file on the same items, in the order of the first file."""

    models: tuple[str, ...]
    items: pd.DataFrame
    """The columns that name an item, and those of its group."""
    values: dict[str, Float[np.ndarray, "item model"]]
    """By measure, which is the name of a column, or what the column `measure` says; nan where an item has none."""
    group: tuple[str, ...]
    """Of every item; empty where no groups are asked for."""
    image: tuple[str, ...]
    notes: tuple[str, ...]
    """What the reader should know of the pairing, one sentence each."""
    long: bool = False
    """Whether the files are in the long form, a row an item and measure."""
    benchmark: tuple[str, ...] = ()
    """Of every item, where benchmarks are compared one by one."""

    def parts(self) -> dict[str, np.ndarray]:
        """The items that are compared together, by the name of their group: all or each benchmark, then each group."""
        whole = np.array(self.benchmark or (ALL,) * len(self.items), dtype=object)
        groups = np.array(self.group, dtype=object)
        found = {str(name): np.flatnonzero(whole == name) for name in dict.fromkeys(whole)}
        return found | {name: np.flatnonzero(groups == name) for name in dict.fromkeys(self.group)}

    def retold(self) -> set[tuple[str, str]]:
        """Groups and measures of the long form that are shown, but are no tests of their own (`RETOLD`)."""
        if not self.long:
            return set()
        return {(group, name) for group, rows in self.parts().items() for name in retold_measures(self.values, rows)}


def compare_paired(paired: Paired, level: float = 0.05) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(means, differences) by group and measure: a row a model; a row a pair of models, the later minus the earlier.

    Means and intervals are those of `results_table` and `comparison_table`, with the images drawn at random. `gained`
    and `lost` count the items that changed sides; where all outcomes are 0 or 1, `p_mcnemar` is McNemar's exact test of
    them (1947), which takes every item as independent. Holm's correction of each p-value is over the whole table. A
    measure that `Paired.retold` names has differences and intervals, but no p-value, and does not enter the correction.
    `detectable` is nan where so few images could show no difference at all, as it would be above 1.
    """
    outcomes = pd.concat(list(_outcomes(paired)), ignore_index=True)
    pairs = [(later, earlier) for earlier, later in combinations(paired.models, 2)]
    means = results_table(outcomes, level)
    means = means[means["convention"] == "micro"]
    found = comparison_table(outcomes, pairs, level)
    parts = paired.parts()
    changes = pd.DataFrame(
        [
            _changes(paired, parts[str(r.benchmark)], str(r.measure), str(r.method), str(r.reference))
            for r in found.itertuples()
        ]
    )
    table = pd.concat([found.drop(columns=["item_low", "item_high", "seed_spread", "seeds"]), changes], axis=1)
    again = pd.MultiIndex.from_frame(table[["benchmark", "measure"]]).isin(list(paired.retold()))
    table.loc[again, ["p_value", "p_mcnemar", "detectable"]] = np.nan
    for name in ("p_value", "p_mcnemar"):
        tested = table[name].notna()
        corrected = "p_holm" if name == "p_value" else f"{name}_holm"
        table[corrected] = np.nan
        table.loc[tested, corrected] = holm(table.loc[tested, name].to_numpy())
    order = {name: place for place, name in enumerate(parts)}

    def in_order(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.rename(columns={"benchmark": "group", "method": "model"})
        return frame.sort_values("group", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)

    return in_order(means), in_order(table)


def changed_items(paired: Paired) -> pd.DataFrame:
    """Every item that one model of a pair solved better than the other, with pair, measure and both outcomes."""
    frames = [paired.items.iloc[:0]]
    for earlier, later in combinations(range(len(paired.models)), 2):
        for measure, values in paired.values.items():
            first, second = values[:, earlier], values[:, later]
            rows = np.flatnonzero((first > second) | (first < second))
            about = {"measure": measure, "reference": paired.models[earlier], "model": paired.models[later]}
            change = np.where(second > first, "gained", "lost")[rows]
            frames.append(
                paired.items.iloc[rows].assign(**about, change=change, before=first[rows], after=second[rows])
            )
    return pd.concat(frames, ignore_index=True)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of as many gains as losses (McNemar 1947): binomial in those that changed sides."""
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _outcomes(paired: Paired) -> Iterator[pd.DataFrame]:
    """OUTCOMES of every model, measure and group, with the group in the benchmark's place."""
    image = np.array(paired.image, dtype=object)
    for group, rows in paired.parts().items():
        for measure, values in paired.values.items():
            own = rows[np.isfinite(values[rows]).all(axis=1)]
            for place, model in enumerate(paired.models if len(own) else ()):
                told: dict[str, Any] = {"method": model, "seed": 0, "benchmark": group, "item_id": own.astype(str)}
                told |= {"measure": measure, "value": values[own, place], "tag": None, "tie": False, "chosen": None}
                yield pd.DataFrame({**told, "image_id": image[own]})


def _changes(paired: Paired, rows: np.ndarray, measure: str, model: str, reference: str) -> dict[str, float]:
    values = paired.values[measure][rows]
    values = values[np.isfinite(values).all(axis=1)]
    after, before = (values[:, paired.models.index(name)] for name in (model, reference))
    gained, lost = int((after > before).sum()), int((after < before).sum())
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    return {"gained": gained, "lost": lost, "p_mcnemar": mcnemar(gained, lost) if binary else np.nan}
