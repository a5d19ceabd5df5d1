"""The ledger as a few lines to read."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

Found = Mapping[Hashable, Mapping[Hashable, Any]]
"""Rows of one method at one backbone, by measure."""

SHARES = {
    "none": "no caption parsed",
    "in_domain": "the share of the domain",
    "out_of_domain": "the share outside the domain",
    "asked": "the share asked for",
    "all": "every caption parsed",
}
"""What a reading of the parser is called."""


def ledger_text(ledger: pd.DataFrame) -> str:
    """The rows of BUDGET as text, one block a method and backbone; every limit with its outcome."""
    blocks = [_block(rows) for _, rows in ledger.groupby(["method", "backbone"], sort=False)]
    return "\n\n".join(blocks)


def _block(rows: pd.DataFrame) -> str:
    found: Found = {row["measure"]: row for row in rows.to_dict("records")}
    lines = [f"{rows['method'].iloc[0]} on {rows['backbone'].iloc[0]}", *_sizes(found), *_counts(found)]
    for stage, per in (("inference", "sample"), ("training", "step")):
        if f"{stage}_overhead" in found:
            lines += _times(found, stage, per)
    return "\n".join(lines)


def _sizes(found: Found) -> list[str]:
    total, trained = found["parameters_total"]["value"], found["parameters_trainable"]["value"]
    extra, share = found["parameters_extra"], found["parameters_extra_share"]
    beyond = f"{extra['value']:,.0f} beyond the backbone, {100 * share['value']:.3g} % of it"
    lines = [_line("parameters", f"{total:,.0f} in all, {trained:,.0f} of them trained")]
    lines.append(_line("", beyond, _verdict(share)))
    if "parameters_parser" in found:
        lines.append(_line("", f"{found['parameters_parser']['value']:,.0f} of them in the parser"))
    return lines


def _counts(found: Found) -> list[str]:
    flops = _parts(found, "flops", lambda row: _scaled(row["value"], ("", "k", "M", "G", "T")))
    lines = [_line("operations", f"{flops} a sample")]
    for stage in ("inference", "training"):
        for name in ("operations", "bytes"):
            row = found.get(f"{stage}_{name}_overhead")
            if row is not None:
                lines.append(_line("", f"{100 * row['value']:+.2f} % {name} in {stage}", _verdict(row)))
    memory = _scaled(found["memory_peak"]["value"], ("B", "kB", "MB", "GB"))
    return [*lines, _line("memory", f"{memory} a sample at most")]


def _times(found: Found, stage: str, per: str) -> list[str]:
    spent = f"{_seconds(found[f'{stage}_seconds'])} a {per}"
    sides = _parts(found, f"{stage}_seconds", lambda row: f"{1e3 * row['value']:.3g} ms", own=("image", "text"))
    row = found[f"{stage}_overhead"]
    lines = [_line(stage, spent + (f"; {sides}" if sides else ""))]
    lines.append(_line("", f"{_percent(row)} beyond the reference", _verdict(row)))
    if row["outcome"] == "undecided":
        lines.append(_line("", row["reason"]))
    lines.append(_line("", f"{_percent(found[f'{stage}_control'])} the reference beyond itself"))
    if f"{stage}_overhead_unmerged" in found:
        lines.append(_line("", f"{_percent(found[f'{stage}_overhead_unmerged'])} with its changes unmerged"))
    for name, said in SHARES.items():
        point = found.get(f"{stage}_overhead_{name}")
        if point is not None:
            share = f"{100 * found[f'parser_share_{name}']['value']:.3g} %"
            lines.append(_line("", f"{_percent(point)} with {share} of captions parsed ({said})"))
    return lines


def _line(title: str, words: str, verdict: str = "") -> str:
    return f"  {title:<12}{words:<60}{verdict}".rstrip()


def _percent(row: Mapping[Hashable, Any]) -> str:
    return f"{100 * row['value']:+.1f} % [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def _verdict(row: Mapping[Hashable, Any]) -> str:
    outcome = row["outcome"]
    return f"limit {100 * row['limit']:g} %: {outcome.upper() if outcome == 'broken' else outcome}"


def _seconds(row: Mapping[Hashable, Any]) -> str:
    scale, unit = (1, "s") if row["high"] >= 1 else (1000, "ms")
    value, low, high = (scale * row[name] for name in ("value", "low", "high"))
    return f"{value:.3g} {unit} [{low:.3g}, {high:.3g}]"


def _parts(found: Found, stem: str, show: Any, own: tuple[str, ...] = ("image", "text", "pair")) -> str:
    shown = {part: show(found[f"{stem}_{part}"]) for part in own if f"{stem}_{part}" in found}
    return shown["pair"] if list(shown) == ["pair"] else ", ".join(f"{part} {words}" for part, words in shown.items())


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 1000 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}".rstrip()
