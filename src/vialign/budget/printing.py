"""The ledger as a few lines to read."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd


def ledger_text(ledger: pd.DataFrame) -> str:
    """The rows of BUDGET as text, one block a method and backbone; every limit with whether it is kept."""
    blocks = [_block(rows) for _, rows in ledger.groupby(["method", "backbone"], sort=False)]
    return "\n\n".join(blocks)


def _block(rows: pd.DataFrame) -> str:
    found = {row["measure"]: row for row in rows.to_dict("records")}
    lines = [f"{rows['method'].iloc[0]} on {rows['backbone'].iloc[0]}"]
    total, trained = found["parameters_total"]["value"], found["parameters_trainable"]["value"]
    extra, share = found["parameters_extra"], found["parameters_extra_share"]
    lines.append(_line("parameters", f"{total:,.0f} in all, {trained:,.0f} of them trained"))
    beyond = f"{extra['value']:,.0f} beyond the backbone, {100 * share['value']:.3g} % of it"
    lines.append(_line("", beyond, _verdict(share)))
    flops = _parts(found, "flops", lambda row: _scaled(row["value"], ("", "k", "M", "G", "T")))
    lines.append(_line("operations", f"{flops} a sample"))
    lines.append(_line("memory", f"{_scaled(found['memory_peak']['value'], ('B', 'kB', 'MB', 'GB'))} a sample at most"))
    inference = _interval(found["inference_seconds"])
    sides = _parts(found, "inference_seconds", lambda row: f"{1e3 * row['value']:.3g} ms", own=("image", "text"))
    lines.append(_line("inference", f"{inference} a sample" + (f"; {sides}" if sides else "")))
    lines.append(_overhead(found["inference_overhead"]))
    if "training_overhead" in found:
        lines.append(_line("training", f"{_interval(found['training_seconds'])} a step"))
        lines.append(_overhead(found["training_overhead"]))
    return "\n".join(lines)


def _line(title: str, words: str, verdict: str = "") -> str:
    return f"  {title:<12}{words:<60}{verdict}".rstrip()


def _overhead(row: Mapping[Hashable, Any]) -> str:
    low, high = 100 * row["low"], 100 * row["high"]
    return _line("", f"{100 * row['value']:+.1f} % [{low:+.1f}, {high:+.1f}] beyond the reference", _verdict(row))


def _verdict(row: Mapping[Hashable, Any]) -> str:
    return f"limit {100 * row['limit']:g} %: {'kept' if row['kept'] else 'BROKEN'}"


def _interval(row: Mapping[Hashable, Any]) -> str:
    scale, unit = (1, "s") if row["high"] >= 1 else (1000, "ms")
    value, low, high = (scale * row[name] for name in ("value", "low", "high"))
    return f"{value:.3g} {unit} [{low:.3g}, {high:.3g}]"


def _parts(
    found: Mapping[Hashable, Any], stem: str, show: Any, own: tuple[str, ...] = ("image", "text", "pair")
) -> str:
    shown = {part: show(found[f"{stem}_{part}"]) for part in own if f"{stem}_{part}" in found}
    return shown["pair"] if list(shown) == ["pair"] else ", ".join(f"{part} {words}" for part, words in shown.items())


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 1000 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}".rstrip()
