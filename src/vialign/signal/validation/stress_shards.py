"""The stress test in shards: scores under some of the disturbances as a table, and all again from the tables."""

from collections.abc import Iterable, Sequence

import pandas as pd

from vialign.files.shards import Shard
from vialign.signal.validation.decay import Stressed
from vialign.tables.signal import SIGNAL_SCORES, STRESSED

_ABOUT = [name for name in STRESSED.columns if name not in SIGNAL_SCORES.columns]


def own_disturbances(shard: Shard, count: int) -> range:
    """Places of the disturbances of a shard: every so many, since those that follow each other take alike long."""
    return range(shard.number - 1, count, shard.of)


def stressed_table(made: Iterable[tuple[int, Iterable[Stressed]]]) -> pd.DataFrame:
    """Rows as `STRESSED` of scores that were made at these places."""
    frames = [
        one.scores.assign(
            number=number,
            attack=one.attack,
            target=one.target,
            strength=float(one.strength),
            unit=one.unit,
            images=one.images,
        )
        for number, stressed in made
        for one in stressed
    ]
    return STRESSED.check(pd.concat(frames, ignore_index=True)) if frames else STRESSED.empty()


def stressed_of(tables: Sequence[pd.DataFrame]) -> list[Stressed]:
    """All scores in the order in which a job alone makes them, from the rows of every shard."""
    rows = pd.concat([table for table in tables if len(table)]).sort_values("number", kind="stable")
    return [_stressed(part.reset_index(drop=True)) for _, part in rows.groupby(_ABOUT, sort=False)]


def _stressed(rows: pd.DataFrame) -> Stressed:
    """The scores of one disturbance."""
    about = {name: rows[name].iloc[0] for name in ("attack", "strength", "unit", "images", "target")}
    return Stressed(scores=rows[list(SIGNAL_SCORES.columns)], **{**about, "strength": float(about["strength"])})
