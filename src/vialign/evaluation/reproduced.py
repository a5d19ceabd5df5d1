"""What a training asks before it begins: whether its backbone reproduced what is known of it.

Apart from how that is found out, so that a better answer there re-runs no training.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pandas as pd

from vialign.errors import UserError
from vialign.files.artifacts import read_table
from vialign.tables.evaluation import REPRODUCTION


def require_reproduced(paths: Iterable[str | Path], action: Literal["refuse", "warn"]) -> None:
    """`require_reproduction` of every table of a list of files, which is empty where nothing is known of a backbone."""
    for path in paths:
        require_reproduction(read_table(path, REPRODUCTION), action)


def require_reproduction(reproduction: pd.DataFrame, action: Literal["refuse", "warn"]) -> None:
    """Refuse to train on a backbone that does not reproduce its known numbers, or, with `warn`, only say so.

    Raises UserError with the first missed value and its likely cause.
    """
    missed = reproduction[~reproduction["passed"].astype(bool)]
    if missed.empty:
        return
    row = missed.iloc[0]
    line = (
        f"reproduction: {row['benchmark']}, {row['metric']}: measured {row['measured']:.2f} %, published "
        f"{row['published']:.2f} % within {row['tolerance']:g} points ({row['cause']}; {len(missed)} of "
        f"{len(reproduction)} values missed)"
    )
    if action == "refuse":
        raise UserError(f"{line}; mend it, or set evaluation.reproduction.action: warn to train all the same")
    print(f"vialign: {line}; training goes on because evaluation.reproduction.action is warn", file=sys.stderr)
