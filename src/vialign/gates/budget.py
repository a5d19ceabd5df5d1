"""The budget gate: is no limit of the efficiency budget broken where it binds?"""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from vialign.config.gates import GateConfig
from vialign.config.methods import BudgetConfig
from vialign.gates.verdict import with_action
from vialign.tables.gates import BUDGET


def budget_verdict(
    budget: pd.DataFrame,
    gate: GateConfig,
    constraints: BudgetConfig,
    method: str = "vialign",
    evidence: str = "budget/ledger.parquet",
) -> pd.DataFrame:
    """VERDICT of the budget gate: the limits that the ledger (BUDGET) sets the full method are kept.

    Limits bind where `constraints.binds` says; elsewhere, and for other methods, they inform. Only a *broken* limit
    stops, an undecided one too where `constraints.strict`. Counted operations and bytes decide what the clock cannot:
    they bind at a stage whose time is undecided. Raises ValueError when the ledger sets the method no limit.
    """
    BUDGET.check(budget)
    limited = budget[budget["limit"].notna()]
    if method not in set(limited["method"]):
        raise ValueError(f"budget gate: the ledger sets no limit for {method}")
    undecided = {
        (row["backbone"], str(row["measure"]).removesuffix("_overhead"))
        for row in limited[limited["method"].eq(method) & limited["outcome"].eq("undecided")].to_dict("records")
    }
    rows = []
    for row in limited.to_dict("records"):
        measure = str(row["measure"])
        stage, counted, _ = measure.partition("_operations" if "_operations" in measure else "_bytes")
        informs = counted and (row["backbone"], stage) not in undecided
        binds = row["method"] == method and limits_bind(str(row["backbone"]), constraints)
        rows.append(
            {
                "criterion": f"{row['method']} on {row['backbone']}: {measure} stays under {row['limit']:g} "
                f"({row['unit']})",
                "value": row["value"],
                "low": row["low"],
                "high": row["high"],
                "threshold": row["limit"],
                "met": row["outcome"] == "kept",
                "undecided": row["outcome"] == "undecided",
                "required": binds and not informs,
                "evidence": evidence,
                "reason": _limit_reason(row, binds, bool(counted)),
            }
        )
    rows.sort(key=lambda row: not row["required"])
    return with_action("budget", rows, gate, strict=constraints.strict)


def _limit_reason(row: dict[Hashable, Any], binds: bool, counted: bool) -> str:
    said = "kept when the interval's upper end is under the limit, broken when its lower end is above it"
    if counted:
        said = "counted, the same on every machine; decides where the clock cannot"
    if row["outcome"] == "undecided":
        said = f"undecided: {row['reason']}"
    return said if binds else f"{said}; for information"


def limits_bind(backbone: str, constraints: BudgetConfig) -> bool:
    """Whether limits on this backbone decide the gate; the ledger names a backbone by its architecture first."""
    return constraints.binds == "everywhere" or backbone.startswith(constraints.reference)
