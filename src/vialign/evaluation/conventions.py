"""Readings of the same outcomes where the field disagrees: how ties count, and over what a macro mean is taken.

OUTCOMES are strict: a tie is wrong and flagged. ARO's order tasks and Winoground's argmax variant take the first of
tied candidates, which is the true one, so ties count as right there: that is the lenient reading. Macro means weigh
every tag alike; the published ones of ARO leave some tags out (Yuksekgonul et al. 2023, arXiv:2210.01936).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

RETOLD = ("match",)
"""Measures that read the scores of another measure's items once more: they are reported, but are no tests of their own
and do not enter a family of comparisons."""
ARO_ATTRIBUTION_ITEMS = 25
"""Fewest items of an attribute pair that ARO's own evaluation counts."""


@dataclass(frozen=True)
class TagRule:
    """Which tags a published macro mean is taken over."""

    left_out: frozenset[str] = frozenset()
    items: int = 1
    """Fewest items of a tag."""


def compared_outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The OUTCOMES of benchmarks that enter a family of comparisons: all but those of `RETOLD` measures."""
    return outcomes[~outcomes["measure"].isin(RETOLD)]


def aro_tag_rules(symmetric: Collection[str]) -> dict[str, TagRule]:
    """The rules of ARO's own macro means, by benchmark (`<split>/<name>`).

    `symmetric` are the relations that hold in both directions, so that swapping the roles makes no wrong caption
    (`vialign.data.benchmarks.aro.SYMMETRIC_RELATIONS`).
    """
    return {
        "aro/aro_relation": TagRule(left_out=frozenset(symmetric)),
        "aro/aro_attribution": TagRule(items=ARO_ATTRIBUTION_ITEMS),
    }


def lenient_outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """OUTCOMES with ties counted right, for every benchmark and measure that has a tie.

    Measures that are not 0 or 1 for each item are left out: a tie there may have cost any part of the outcome.
    """
    place = [outcomes["benchmark"], outcomes["measure"]]
    tied = outcomes["tie"].groupby(place).transform("any").astype(bool)
    binary = outcomes["value"].isin((0.0, 1.0)).groupby(place).transform("all").astype(bool)
    kept = outcomes[tied & binary]
    return kept.assign(value=np.maximum(kept["value"].astype(float), kept["tie"].astype(float)))


def published_outcomes(outcomes: pd.DataFrame, rules: Mapping[str, TagRule]) -> pd.DataFrame:
    """The OUTCOMES whose tags count in the published macro mean of their benchmark; other benchmarks are left out.

    A tag's items are counted once, however many methods and seeds were run on them.
    """
    kept = [outcomes.iloc[:0]]
    for benchmark, rule in rules.items():
        rows = outcomes[(outcomes["benchmark"] == benchmark) & outcomes["tag"].notna()]
        items = rows.groupby("tag")["item_id"].nunique()
        tags = items.index[(items >= rule.items) & ~items.index.isin(rule.left_out)]
        kept.append(rows[rows["tag"].isin(tags)])
    return pd.concat(kept, ignore_index=True)
