"""From the outcomes of what was tried to what each is worth: tables of `USES`."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from vialign.analysis.attribution.names import FROZEN
from vialign.analysis.uses.names import (
    AT_RANDOM,
    CHOICES,
    CLEAN,
    CLEAN_CAPTIONS,
    GLOBAL,
    ORDERS,
    PLAIN,
    SMALL_LOSS,
    WEIGHTS,
    Noise,
    labelled_title,
)
from vialign.evaluation.compare import comparison_table
from vialign.tables.uses import USES


def noise_table(
    outcomes: pd.DataFrame, method: str, conditions: Sequence[Noise], steps: int, level: float
) -> pd.DataFrame:
    """USES of `noise_outcomes`: under each condition what the noise costs, every rule against no weights, and every
    rule by a local signal against the same by S_global.
    """
    pairs, said = [], []
    names = set(outcomes["method"])
    clean = f"{CLEAN}: {PLAIN}"
    for noise in conditions:
        plain = f"{noise.name}: {PLAIN}"
        if noise.share:
            pairs.append((plain, clean))
            said.append((noise.name, PLAIN, CLEAN_CAPTIONS))
        for name in sorted(names):
            condition, _, rule = name.partition(": ")
            if condition == noise.name and rule != PLAIN:
                pairs.append((name, plain))
                said.append((noise.name, rule, PLAIN))
                rival = _rival(rule)
                if rival is not None:
                    pairs.append((name, f"{noise.name}: {rival}"))
                    said.append((noise.name, rule, rival))
    table = _table(outcomes, "noise", method, pairs, said, steps, level)
    costs = table[table["reference"] == CLEAN_CAPTIONS].set_index(["condition", "benchmark", "measure"])["difference"]
    place = pd.MultiIndex.from_frame(table[["condition", "benchmark", "measure"]])
    cost = -costs.reindex(place).to_numpy()
    rules = table["reference"].eq(PLAIN).to_numpy() & (cost > 0)
    table["recovered"] = np.where(rules, table["difference"] / np.where(rules, cost, 1.0), np.nan)
    return USES.check(table)


def _rival(rule: str) -> str | None:
    """The same rule by S_global alone; none for that itself, and for what reads no signal."""
    for told in (WEIGHTS, CHOICES):
        if rule in told.values() and rule not in (told[GLOBAL], SMALL_LOSS):
            return told[GLOBAL]
    return None


def order_table(outcomes: pd.DataFrame, method: str, steps: int, level: float) -> pd.DataFrame:
    """USES of `order_outcomes`: every order against the drawn one, whose captions join as fast."""
    orders = [name for name in ORDERS if name != AT_RANDOM]
    pairs = [(name, AT_RANDOM) for name in orders]
    said = [(CLEAN, name, AT_RANDOM) for name in orders]
    return USES.check(_table(outcomes, "order", method, pairs, said, steps, level))


def labels_table(
    outcomes: pd.DataFrame, method: str, counts: Iterable[int | None], steps: int, level: float
) -> pd.DataFrame:
    """USES of dictionaries by how many labelled images they were told of: what each gains over the frozen backbone, and
    what fewer cost against all. Each of the two questions is corrected for by itself.
    """
    names = [labelled_title(count) for count in counts]
    everything = labelled_title(None)
    families = [(name, FROZEN) for name in names], [(name, everything) for name in names if name != everything]
    parts = [
        _table(outcomes, "labels", method, pairs, [(CLEAN, *pair) for pair in pairs], steps, level)
        for pairs in families
    ]
    return USES.check(pd.concat(parts, ignore_index=True))


def _table(
    outcomes: pd.DataFrame,
    use: str,
    method: str,
    pairs: Sequence[tuple[str, str]],
    said: Sequence[tuple[str, str, str]],
    steps: int,
    level: float,
) -> pd.DataFrame:
    """A row a pair and measure; `said` has condition, rule and reference of each pair."""
    found = comparison_table(outcomes, list(pairs), level)
    means = outcomes.groupby(["method", "benchmark", "measure"], observed=True)["value"].mean()
    told = dict(zip(pairs, said, strict=True))
    rows = [told[pair] for pair in zip(found["method"], found["reference"], strict=True)]
    places = zip(found["method"], found["benchmark"], found["measure"], strict=True)
    return pd.DataFrame(
        {
            "use": use,
            "method": method,
            **{name: [row[place] for row in rows] for place, name in enumerate(("condition", "rule", "reference"))},
            "benchmark": found["benchmark"],
            "measure": found["measure"],
            "value": [means[place] for place in places],
            **{name: found[name] for name in ("difference", "low", "high", "p_value", "p_holm")},
            "recovered": np.nan,
            "seeds": outcomes["seed"].nunique(),
            "steps": steps,
            "items": found["items"],
        }
    )
