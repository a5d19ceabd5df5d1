"""How a number looks, and how it says where it comes from."""

import math
from typing import Any

import pandas as pd
from markupsafe import Markup

from vialign.config.experiment import Config
from vialign.report.evidence import FILE, ROW

MINUS = "\N{MINUS SIGN}"


WORDS = ("text", "prose", "flag", "verdict", "digest")
"""Styles that are not numbers: set to the left, sorted by their letters."""


def shape(value: Any, style: str) -> str:
    """The text of one value.

    Styles of numbers: `fraction` (three decimals), `percent` and `points` (a fraction shown times 100, one decimal;
    points carry a sign), `p` (a probability), `count`, `number` (about three digits), `plain` (as short as it is).
    Styles of words: `text`, `prose` (many words), `flag`, `verdict` (a flag that must not be no), `digest` (its first
    10 characters). A missing value is an en dash.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return "\N{EN DASH}"
    if style in ("flag", "verdict"):
        return "yes" if value else "no"
    if style == "digest":
        return str(value)[:10]
    if style in ("text", "prose"):
        return str(value)
    number = _numeric(float(value), style)
    if number.strip("-0.") == "":
        # A value that rounds to nothing has no side of zero to show.
        number = number.replace("-", "+" if style == "points" else "")
    return number.replace("-", MINUS)


def _numeric(value: float, style: str) -> str:
    if style == "fraction":
        return f"{value:.3f}"
    if style == "percent":
        return f"{100 * value:.1f}"
    if style == "points":
        return f"{100 * value:+.1f}"
    if style == "p":
        return "<0.001" if value < 0.001 else f"{value:.3f}"
    if style == "count":
        return f"{value:,.0f}"
    if style == "plain":
        return f"{value:g}"
    if style != "number":
        raise ValueError(f"unknown number style {style!r}")
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.1e}"
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"


def cite(row: pd.Series, column: str, style: str) -> Markup:
    """One value of a frame, marked with the file, row and column it stands in."""
    return cell(row[column], style, str(row[FILE]), int(row[ROW]), column)


def quote(row: pd.Series, column: str) -> Markup:
    """Words of a table, marked with where they stand."""
    template = Markup('<q data-source="{}" data-row="{}" data-column="{}">{}</q>')
    return template.format(row[FILE], row[ROW], column, row[column])


def cell(value: Any, style: str, file: str, row: int, column: str) -> Markup:
    """A value marked with the file, row and column it stands in."""
    template = Markup('<data value="{}" data-source="{}" data-row="{}" data-column="{}">{}</data>')
    raw = "" if pd.isna(value) else value
    return template.format(raw, file, row, column, shape(value, style))


def cite_interval(row: pd.Series, column: str, style: str, low: str = "low", high: str = "high") -> Markup:
    """A value with its interval, each marked with where it stands."""
    if pd.isna(row[low]) or pd.isna(row[high]):
        return cite(row, column, style)
    interval = Markup('<span class="interval">[{}, {}]</span>').format(cite(row, low, style), cite(row, high, style))
    return Markup("{} {}").format(cite(row, column, style), interval)


def cite_config(config: Config, key: str, style: str) -> Markup:
    """A value of the configuration, marked with its dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    template = Markup('<data value="{}" data-source="config" data-column="{}">{}</data>')
    return template.format(value, key, shape(value, style))


def derived(value: float, how: str, source: str, style: str = "count") -> Markup:
    """A number that the report itself took from a table, marked with how and from what."""
    template = Markup('<data value="{}" data-source="{}" data-derived="{}">{}</data>')
    return template.format(value, source, how, shape(value, style))
