"""From the outcomes of all replacements to what each costs, and to what carries the gain."""

import numpy as np
import pandas as pd

from vialign.analysis.attribution.names import CLAIMS, FROZEN, SHIPPED, Claim
from vialign.evaluation.compare import comparison_table
from vialign.evaluation.statistics import holm
from vialign.tables.attribution import ATTRIBUTION, CARRIERS


def attribution_table(
    outcomes: pd.DataFrame, method: str, parts: dict[str, str], steps: int, *, level: float
) -> pd.DataFrame:
    """ATTRIBUTION of one method, from the OUTCOMES of all that stands in its places; `parts` says which part each is.

    Costs are paired by query and seed. Holm's correction is over all replacements and measures of the method.
    """
    pairs = [(SHIPPED, name) for name in [*parts, FROZEN]]
    found = comparison_table(outcomes, pairs, level)
    means = outcomes.groupby(["method", "benchmark", "measure"], observed=True)["value"].mean()
    seeds = outcomes.groupby("method", observed=True)["seed"].nunique()
    gains = found[found["reference"] == FROZEN].set_index(["benchmark", "measure"])["difference"]
    rows = []
    for row in found.to_dict("records"):
        place = (row["benchmark"], row["measure"])
        rows.append(
            {
                "method": method,
                "part": parts.get(row["reference"], "whole"),
                "replacement": row["reference"],
                "benchmark": row["benchmark"],
                "measure": row["measure"],
                "value": means[(row["reference"], *place)],
                "shipped": means[(SHIPPED, *place)],
                "cost": row["difference"],
                "low": row["low"],
                "high": row["high"],
                "p_value": row["p_value"],
                "p_holm": np.nan,
                "gain": gains[place],
                "seeds": int(seeds[row["reference"]]),
                "steps": 0 if row["reference"] == FROZEN else steps,
                "items": row["items"],
            }
        )
    table = pd.DataFrame(rows)
    corrected = table["replacement"].ne(FROZEN)
    table.loc[corrected, "p_holm"] = holm(table.loc[corrected, "p_value"].to_numpy())
    return ATTRIBUTION.check(table)


def carriers(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """CARRIERS: for each claim whether the gain is lost without what it names, from ATTRIBUTION of any methods.

    A claim holds where on at least one measure every replacement that it names costs something: a positive cost whose
    p, after Holm's correction, is under `level`. The share lost is the mean cost over the mean gain, over the measures
    on which there is a gain, of the replacement that loses least.
    """
    rows = []
    for method, own in table.groupby("method", sort=False):
        for claim in CLAIMS:
            parts = own[own["replacement"].isin(claim.without)]
            if set(parts["replacement"]) != set(claim.without):
                continue
            rows.append({"method": method, "claim": claim.name, **_judged(claim, parts, level)})
    return CARRIERS.check(pd.DataFrame(rows)) if rows else CARRIERS.empty()


def _judged(claim: Claim, parts: pd.DataFrame, level: float) -> dict[str, object]:
    costs = parts.assign(lost=(parts["cost"] > 0) & (parts["p_holm"] < level))
    lost = costs.pivot(index=["benchmark", "measure"], columns="replacement", values="lost").all(axis=1)
    gained = costs[costs["gain"] > 0]
    share = np.nan
    if len(gained):
        by = gained.groupby("replacement", sort=False)
        share = float((by["cost"].mean() / by["gain"].mean()).min())
    where = [f"{benchmark.partition('/')[2]}, {measure}" for benchmark, measure in lost.index[lost]]
    without = " and ".join(claim.without)
    if where:
        reason = f"{without} in its place costs something on {'; '.join(where)}"
    else:
        worst = costs.sort_values("cost").iloc[-1]
        reason = (
            f"with {without} in its place no measure loses significantly; the largest loss is "
            f"{100 * worst['cost']:.1f} points (corrected p {worst['p_holm']:.2g})"
        )
    return {"holds": bool(lost.any()), "share": share, "reason": reason}
