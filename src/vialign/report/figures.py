"""Drawings: a frame in, one inline SVG with the rows it shows out; nothing is read from disk or from the clock.

Every drawing is one of five kinds: values with intervals, curves with bands, outlines of distributions, paths, and
points.
"""

import io
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from vialign.report.drawing import Drawing
from vialign.report.style import DASHES, INK, MARKERS, MUTED, PALETTE, RC, VARIABLES, WIDTH

Line = tuple[float, str]
"""A reference line: where it is, and what it is called."""

Look = tuple[str, str, Any]
"""Colour, marker and dash of one series."""


def interval_plot(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    row: str,
    value: str,
    axis: str,
    low: str = "low",
    high: str = "high",
    series: str | None = None,
    order: Sequence[str] = (),
    lines: Sequence[Line] = (),
    scale: float = 1.0,
) -> Drawing:
    """Values with their intervals as dots with bars: one line of dots a value of `row`, one colour a `series`.

    A row without an interval is a bare dot. `scale` multiplies values (100 turns fractions into percent). A series
    keeps its colour from drawing to drawing when `order` names all series that the page knows.
    """
    rows = list(dict.fromkeys(frame[row]))
    names: list[Any] = list(dict.fromkeys(frame[series])) if series else [None]
    looks = _looks(names, order)
    labels = [_wrap(item) for item in rows]
    step = 0.8 / len(names)
    # Many series stand closer together: the drawing would grow taller than anyone scrolls.
    each = 0.13 if len(names) <= len(PALETTE) else 0.09
    height = max(0.18 + each * len(names), 0.19 * max(label.count("\n") + 1 for label in labels))
    with matplotlib.rc_context(RC):
        size = (WIDTH, 0.85 + len(rows) * height + _legend_room(names))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for place, label in enumerate(names):
            part = frame[frame[series] == label] if series else frame
            y = np.array([rows.index(item) for item in part[row]]) + step * (place - (len(names) - 1) / 2)
            x = scale * part[value].to_numpy(float)
            ends = [scale * part[end].to_numpy(float) for end in (low, high)]
            bars = np.array([np.nan_to_num(x - ends[0]), np.nan_to_num(ends[1] - x)]).clip(min=0)
            colour, marker, _ = looks[label]
            axes.errorbar(x, y, xerr=bars, fmt=marker, color=colour, ecolor=colour, elinewidth=1.2, label=label)
        _reference_lines(axes, lines, vertical=True)
        drawn = scale * frame[[value, low, high]].to_numpy(float)
        if not lines and np.nanmin(drawn) == np.nanmax(drawn) > 0:
            # Without a spread matplotlib would centre the axis on the value, and a share of 1 would have room above.
            axes.set_xlim(0, 1.02 * np.nanmax(drawn))
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if np.nanmax(drawn) >= 10_000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        # In the middle of the figure: beside wide labels the axes alone have no room for it.
        figure.supxlabel(axis, fontsize=RC["font.size"])
        _legend(figure, axes, bool(series) or bool(lines))
        return Drawing(_svg(figure, name, title), name, frame, (row, series, value, low, high))


def curve_plot(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    x: str,
    y: str,
    series: str,
    axes_labels: tuple[str, str],
    low: str | None = None,
    high: str | None = None,
    repeat: str | None = None,
    facet: str | None = None,
    order: Sequence[str] = (),
    lines: Sequence[Line] = (),
    scale: float = 1.0,
) -> Drawing:
    """Curves over `x`, one colour and dash a `series`, one panel a `facet`.

    Uncertainty is a band between `low` and `high`, or, with `repeat`, one thin line for each repetition (seed) around
    the thick mean.
    """
    facets: list[Any] = list(dict.fromkeys(frame[facet])) if facet else [None]
    columns = min(2, len(facets))
    rows = -(-len(facets) // columns)
    looks = _looks(list(dict.fromkeys(frame[series])), order)
    with matplotlib.rc_context(RC):
        panels = (2.0 if rows == 1 and columns == 1 else 1.6) * rows
        size = (WIDTH, 0.5 + panels + _legend_room([*looks, *(label for _, label in lines)]))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, item in enumerate(facets):
            axes = grid.flat[place]
            panel = frame[frame[facet] == item] if facet else frame
            for label, look in looks.items():
                part = panel[panel[series] == label].sort_values(x)
                _curve(axes, part, x, y, low, high, repeat, look, label, scale)
            _reference_lines(axes, lines, vertical=False)
            if facet:
                axes.set_title(str(item))
        for axes in list(grid.flat)[len(facets) :]:
            axes.set_visible(False)
        figure.supxlabel(axes_labels[0], fontsize=RC["font.size"])
        if rows == 1:
            # The label of the whole figure would stand in the middle of panel and legend together.
            grid[0, 0].set_ylabel(_wrap(axes_labels[1]))
        else:
            figure.supylabel(axes_labels[1], fontsize=RC["font.size"])
        _legend(figure, grid.flat[0], True)
        return Drawing(_svg(figure, name, title), name, frame, (facet, series, repeat, x, y, low, high))


def _curve(
    axes: Axes,
    part: pd.DataFrame,
    x: str,
    y: str,
    low: str | None,
    high: str | None,
    repeat: str | None,
    look: Look,
    label: str,
    scale: float,
) -> None:
    colour, marker, dash = look
    if repeat:
        for _, one in part.groupby(repeat):
            axes.plot(one[x], scale * one[y], color=colour, linewidth=0.6, alpha=0.6)
        mean = part.groupby(x)[y].mean()
        alone = marker if len(mean) == 1 else "none"
        axes.plot(mean.index, scale * mean, color=colour, linestyle=dash, marker=alone, label=label)
        return
    axes.plot(part[x], scale * part[y], color=colour, linestyle=dash, marker=marker, markersize=3.5, label=label)
    if low and high:
        axes.fill_between(part[x], scale * part[low], scale * part[high], color=colour, alpha=0.18, linewidth=0)


def distribution_plot(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    value: str,
    series: str,
    axis: str,
    order: Sequence[str] = (),
    bins: int = 40,
) -> Drawing:
    """Outlines of the distributions of `value`, one a `series`, each with area one, over common bins."""
    low, high = np.quantile(frame[value].to_numpy(float), [0.001, 0.999])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    drawn = []
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 2.5 + _legend_room(list(frame[series].unique()))), layout="constrained")
        axes = figure.subplots()
        for label, (colour, _, dash) in _looks(list(dict.fromkeys(frame[series])), order).items():
            values = frame.loc[frame[series] == label, value].clip(edges[0], edges[-1])
            heights, _ = np.histogram(values, bins=edges, density=True)
            axes.stairs(heights, edges, color=colour, linestyle=dash, linewidth=1.3, label=label)
            drawn.append(pd.DataFrame({series: label, "from": edges[:-1], "to": edges[1:], "density": heights}))
        axes.set_xlabel(axis)
        axes.set_ylabel("density")
        axes.set_ylim(bottom=0)
        _legend(figure, axes, True)
        return Drawing(_svg(figure, name, title), name, pd.concat(drawn), (series, "from", "to", "density"))


def path_plot(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    x: str,
    y: str,
    series: str,
    repeat: str,
    labels: tuple[str, str],
    order: Sequence[str] = (),
) -> Drawing:
    """How two measures move together: one path a `series` and `repeat`, in row order, its last point filled."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 2.5 + _legend_room(list(frame[series].unique()))), layout="constrained")
        axes = figure.subplots()
        for label, (colour, marker, _) in _looks(list(dict.fromkeys(frame[series])), order).items():
            for first, (_, one) in enumerate(frame[frame[series] == label].groupby(repeat)):
                axes.plot(one[x], one[y], color=colour, marker=marker, markersize=2.5, linewidth=0.8)
                shown = label if first == 0 else None
                axes.plot(one[x].iloc[-1:], one[y].iloc[-1:], marker, color=colour, markersize=7, label=shown)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        _legend(figure, axes, True)
        return Drawing(_svg(figure, name, title), name, frame, (series, repeat, x, y))


def point_plot(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    x: str,
    y: str,
    series: str,
    labels: tuple[str, str],
    order: Sequence[str] = (),
    start: tuple[float, float] | None = None,
    moved: str | None = None,
) -> Drawing:
    """One point a row, one colour and marker a `series`; the first of `order` stays in the background.

    With `start`, a thin line leads from there to each point of the series `moved`.
    """
    present = set(frame[series])
    looks = {label: look for label, look in _looks(list(order), order).items() if label in present}
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH, 3.2 + _legend_room(list(looks))), layout="constrained")
        axes = figure.subplots()
        for place, (label, (colour, marker, _)) in enumerate(looks.items()):
            part = frame[frame[series] == label]
            if start is not None and label == moved:
                for row in part[[x, y]].itertuples(index=False):
                    axes.plot([start[0], row[0]], [start[1], row[1]], color=colour, linewidth=0.7, zorder=1)
            behind = place == 0 and len(looks) > 1
            size, alpha = (3.0, 0.6) if behind else (6.5, 1.0)
            colour = MUTED if behind else colour
            (points,) = axes.plot(part[x], part[y], marker, linestyle="none", color=colour, label=label, alpha=alpha)
            points.set(markersize=size, zorder=2 + place)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(_wrap(labels[1]))
        _legend(figure, axes, True)
        return Drawing(_svg(figure, name, title), name, frame, ("model", series, x, y))


def _looks(names: list[Any], order: Sequence[str]) -> dict[Any, Look]:
    """Colour, marker and dash of each series: by its place in `order`, or among `names` where it has none there."""
    known = list(dict.fromkeys([*order, *names]))
    places = {name: known.index(name) for name in names}
    looks = {}
    for name, place in places.items():
        # After all colours were used, each comes back with another marker and dash.
        turn, colour = divmod(place, len(PALETTE))
        other = (colour + turn) % len(MARKERS)
        looks[name] = (PALETTE[colour], MARKERS[other], DASHES[other])
    return looks


def _reference_lines(axes: Axes, lines: Sequence[Line], *, vertical: bool) -> None:
    for order, (where, label) in enumerate(lines):
        draw = axes.axvline if vertical else axes.axhline
        draw(where, color=INK if order == 0 else MUTED, linewidth=0.9, linestyle=DASHES[1 + order % 3], label=label)


def _legend(figure: Figure, axes: Axes, wanted: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if not wanted or not handles:
        return
    columns = _legend_columns(labels)
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.2)


def _legend_columns(labels: Sequence[object]) -> int:
    longest = max(len(str(label)) for label in labels)
    return max(1, min(len(labels), int(48 / (longest + 5))))


def _legend_room(labels: Sequence[object]) -> float:
    """Inches that a legend of more than two rows needs, so that it does not press the panels flat."""
    rows = -(-len(labels) // _legend_columns(labels))
    return 0.18 * max(0, rows - 2)


def _wrap(label: object) -> str:
    return "\n".join(textwrap.wrap(str(label), 22)) or str(label)


def _svg(figure: Figure, name: str, title: str) -> str:
    """The drawing as an SVG element for a page: named for screen readers, own ids, colours as CSS variables."""
    buffer = io.StringIO()
    # `savefig` lays the figure out in one drawing that it throws away, and draws it again; this does both at once.
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    head = re.search(r'viewBox="[^"]*"', text)
    if head is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {head.group()} role="img" aria-labelledby="{name}-title">'
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"\n\s*", "\n", body).replace("xlink:href", "href")
    return f'{opening}<title id="{name}-title">{escape(title)}</title>{body}'
