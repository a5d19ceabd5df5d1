"""What a gate decides, and what its table says: the workflow reads this, so nothing heavy is imported here."""

import pandas as pd

from vialign.config.gates import GateConfig
from vialign.files.artifacts import read_table
from vialign.tables.gates import ABLATION, VERDICT


def gate_action(path: str) -> str:
    """`go`, `warn` or `stop`, as the verdict table at `path` says.

    Raises ValueError when the rows of the verdict disagree, which would be a bug of the gate.
    """
    actions = set(read_table(path, VERDICT)["action"])
    if len(actions) != 1:
        raise ValueError(f"{path}: the rows of a verdict must carry one action, found {sorted(actions)}")
    return str(actions.pop())


NOT_SHOWN = "not shown"
"""How the reason of a required criterion begins that could not be measured at all."""


def not_shown(verdict: pd.DataFrame) -> pd.DataFrame:
    """The required criteria without any measurement: nothing speaks against them, and nothing for them."""
    return verdict[verdict["required"] & ~verdict["met"] & verdict["reason"].str.startswith(f"{NOT_SHOWN}: ")]


def missed(verdict: pd.DataFrame) -> pd.DataFrame:
    """The required criteria that do not hold; where none is, those that a strict gate stopped at undecided."""
    open_ = verdict[verdict["required"] & ~verdict["met"]]
    broken = open_[~open_["undecided"]]
    return broken if len(broken) or (verdict["action"] == "go").any() else open_


def unmeasured(verdict: pd.DataFrame) -> pd.DataFrame:
    """The required criteria of which the measurement could tell nothing."""
    return verdict[verdict["required"] & verdict["undecided"]]


def undecided(verdict: pd.DataFrame) -> pd.DataFrame:
    """Those of `unmeasured` that nothing else decides: a time is decided by the counted work of its stage."""
    open_ = unmeasured(verdict)
    stage = open_["criterion"].str.extract(r"^(.*)_overhead ", expand=False)
    counted = verdict[verdict["required"] & verdict["criterion"].str.contains("_operations_|_bytes_", regex=True)]
    decided = [
        not (own := counted[counted["criterion"].str.startswith(f"{name}_")]).empty and bool(own["met"].all())
        for name in stage.fillna("")
    ]
    return open_[~pd.Series(decided, index=open_.index, dtype=bool)]


def chosen_method(path: str) -> str:
    """The combination of modules that the ablation table at `path` chose.

    Raises ValueError when it did not choose exactly one.
    """
    table = read_table(path, ABLATION)
    methods = table.loc[table["chosen"], "method"].tolist()
    if len(methods) != 1:
        raise ValueError(f"{path}: an ablation chooses one combination, found {methods}")
    return str(methods[0])


def with_action(name: str, rows: list[dict[str, object]], gate: GateConfig, *, strict: bool = True) -> pd.DataFrame:
    """The rows of a gate with what follows, as VERDICT; an undecided criterion is missed only where it is strict."""
    frame = pd.DataFrame([{"undecided": False, **row} for row in rows])
    missed = frame["required"] & ~frame["met"]
    stopped = bool((missed if strict else missed & ~frame["undecided"]).any())
    frame["gate"] = name
    frame["action"] = gate.action if stopped else "go"
    for column in ("value", "low", "high", "threshold"):
        frame[column] = frame[column].astype(float)
    return VERDICT.check(frame)
