"""An explained pair as a page and as a picture: each phrase's prototype drawn over what the image tower sees."""

import base64
import io
import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from PIL import Image

from vialign.analysis.explain import Explanation, Found, Match
from vialign.catalogue import meaning
from vialign.files.artifacts import atomic_path, write_text
from vialign.report.blocks import Section, part
from vialign.report.build import render_page
from vialign.report.numbers import shape
from vialign.report.sections.common import words
from vialign.report.style import PALETTE, RC

HALF = 0.5
"""Share of a map's highest value at which its outline is drawn."""
_SIDE = 256
"""Pixels of a map when it is drawn; the patch grid is coarse, so values between centres are interpolated."""
_SHADE = 0.6
"""Opacity of a map where it is highest."""
_PANEL = 320
"""Pixels of a picture in the page."""
_COLUMNS = 4
"""Panels in a row of the picture, at most: one fewer where that fills its last row better."""
_INCHES, _GAP, _LINE = 2.3, 0.25, 0.17
"""Side of a panel of the picture, what lies between two, and a line of text; inches."""
_ROLES = ("subject", "object")


def write_explanation(explanation: Explanation, provenance: Mapping[str, str], folder: Path) -> tuple[Path, Path]:
    """Write `explain.html` and `explain.png` into a folder, and return where they are."""
    page, picture = folder / "explain.html", folder / "explain.png"
    write_text(render_explanation(explanation, provenance), page)
    with atomic_path(picture) as temporary:
        temporary.write_bytes(draw_explanation(explanation))
    return page, picture


def render_explanation(explanation: Explanation, provenance: Mapping[str, str]) -> str:
    """The page as text: self-contained, with every word of the caption escaped."""
    pair = part(
        "explain_pair.html.j2",
        caption=explanation.caption,
        picture=_panel(explanation, None),
        parsed=explanation.parsed,
        numbers=_numbers(explanation),
    )
    phrases = part(
        "explain_phrases.html.j2",
        matches=[
            {
                "words": match.words,
                "kind": match.kind,
                "picture": _panel(explanation, match),
                "alt": _alternative(match),
                "lines": _lines(match),
            }
            for match in explanation.matches
        ],
    )
    wrong = part("explain_scores.html.j2", **_score_table(explanation))
    sections = [
        Section("pair", "The pair", [pair]),
        Section("phrases", "What each phrase found", [phrases]),
        Section("wrong", "The same caption made wrong", [wrong]),
    ]
    return render_page(explanation.caption, "vialign explain", sections, provenance)


def draw_explanation(explanation: Explanation) -> bytes:
    """One PNG: the image with the numbers of the pair, then one panel a phrase."""
    panels = [(match, *_panel_text(explanation, match)) for match in (None, *explanation.matches)]
    columns = len(panels) if len(panels) <= _COLUMNS else min((_COLUMNS, _COLUMNS - 1), key=lambda n: -len(panels) % n)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    caption = textwrap.fill(explanation.caption, 34 * columns)
    below = [_LINE * max(f"{title}\n{text}".count("\n") + 2 for _, title, text in row) for row in rows]
    width = _GAP + columns * (_INCHES + _GAP)
    height = 0.45 + 0.22 * (caption.count("\n") + 1) + sum(_INCHES + words for words in below)
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = Figure(figsize=(width, height), facecolor="white")
        figure.text(_GAP / width, 1 - 0.2 / height, caption, fontsize=11.5, va="top", parse_math=False)
        bottom = sum(_INCHES + words for words in below)
        for row, words in zip(rows, below, strict=True):
            bottom -= _INCHES
            for place, (match, title, text) in enumerate(row):
                left = _GAP + place * (_INCHES + _GAP)
                axes = figure.add_axes((left / width, bottom / height, _INCHES / width, _INCHES / height))
                axes.set_axis_off()
                _draw(axes, explanation, match)
                for start, content, weight in ((0, title, "bold"), (title.count("\n") + 1, text, "normal")):
                    y = (bottom - 0.07 - _LINE * start) / height
                    figure.text(left / width, y, content, va="top", fontsize=8.5, fontweight=weight, parse_math=False)
            bottom -= words
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, explanation: Explanation, match: Match | None) -> None:
    """The image in an axes of unit size and, of a phrase, the maps of what it found."""
    axes.imshow(explanation.pixels, extent=(0, 1, 1, 0), interpolation="bicubic")
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    found = match.found if match else ()
    halo: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground="white")]
    for colour, one in zip(PALETTE[1::-1], found, strict=False):
        smooth = smooth_map(one.map)
        shade = np.empty((*smooth.shape, 4))
        shade[..., :3], shade[..., 3] = to_rgb(colour), _SHADE * smooth
        axes.imshow(shade, extent=(0, 1, 1, 0), interpolation="bilinear")
        # A margin of zeros closes the outline of a map that reaches the edge of the image.
        around = np.pad(smooth, 1)
        steps = np.clip((np.arange(-1, _SIDE + 1) + 0.5) / _SIDE, 0.004, 0.996)
        lines = axes.contour(steps, steps, around, levels=[HALF], colors=[colour], linewidths=1.4)
        lines.set_path_effects(halo)
        left, top, width, height = half_box(smooth)
        axes.add_patch(
            Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=0.9, linestyle="--")
        )
    if len(found) == len(_ROLES) and found[0].prototype != found[1].prototype:
        arrow = {"arrowstyle": "->", "color": "black", "linewidth": 1.6, "path_effects": halo}
        axes.annotate("", xy=found[0].centre, xytext=found[1].centre, arrowprops=arrow)


def smooth_map(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "y x"]:
    """A map on a fine grid, its highest value 1; linear between the centres of the patches."""
    top = float(values.max())
    picture = Image.fromarray((values / top if top > 0 else values).astype(np.float32))
    fine = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    return fine / max(float(fine.max()), 1e-12)


def half_box(smooth: Float[np.ndarray, "y x"]) -> tuple[float, float, float, float]:
    """Left, top, width and height, as shares of the image, of the smallest box around the values of at least a half."""
    y, x = np.nonzero(smooth >= HALF)
    left, top = x.min() / smooth.shape[1], y.min() / smooth.shape[0]
    return left, top, (x.max() + 1) / smooth.shape[1] - left, (y.max() + 1) / smooth.shape[0] - top


def _panel(explanation: Explanation, match: Match | None) -> str:
    """One panel without any words, as a data URI."""
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = Figure(figsize=(_PANEL / 100, _PANEL / 100))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        _draw(axes, explanation, match)
        buffer = io.BytesIO()
        # An image with noise in it is many times smaller so than as PNG.
        figure.savefig(buffer, format="jpeg", dpi=100, pil_kwargs={"quality": 88})
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _numbers(explanation: Explanation) -> list[tuple[str, str, str]]:
    """What the signal says of the pair: name, value, meaning."""
    row = explanation.scores.iloc[0]
    return [
        ("S global", shape(row["s_global"], "fraction"), "cosine of the two pooled embeddings"),
        ("S local", shape(row["s_local"], "fraction"), "weighted mean of the phrases' matches"),
        ("S global, calibrated", shape(row["s_global_calibrated"], "fraction"), "chance of an aligned pair"),
        ("S local, calibrated", shape(row["s_local_calibrated"], "fraction"), "chance of an aligned pair"),
        ("C", shape(row["consistency"], "fraction"), "whether both say the same, yes or no"),
        ("agreement", shape(row["agreement"], "fraction"), "whether both say yes"),
    ]


def _panel_text(explanation: Explanation, match: Match | None) -> tuple[str, str]:
    """Title and lines of a panel of the picture, wrapped to its width."""
    if match is not None:
        title, lines = match.words, _lines(match)
    else:
        value = {name: number for name, number, _ in _numbers(explanation)}
        title = "what the image tower sees"
        lines = [f"{name} {value[name]}, calibrated {value[f'{name}, calibrated']}" for name in ("S global", "S local")]
        lines.append(f"C {value['C']}, agreement {value['agreement']}")
    return textwrap.fill(title, 30), "\n".join(textwrap.fill(line, 38, subsequent_indent="  ") for line in lines)


def _lines(match: Match) -> list[str]:
    """Kind, match and prototypes of a phrase, a line each."""
    value, share = shape(match.match, "fraction"), shape(match.weight, "percent")
    first = f"{match.kind}, {share} % of S local"
    if len(match.found) == len(_ROLES):
        return [
            first,
            f"match {value} with how the two lie",
            *(
                f"{role}: {one.words}, prototype {one.prototype + 1}, {shape(one.cosine, 'fraction')}"
                for role, one in zip(_ROLES, match.found, strict=True)
            ),
        ]
    (found,) = match.found
    held = f"which holds {shape(found.mass, 'percent')} % of the foreground"
    return [first, f"match {value} with prototype {found.prototype + 1},", held]


def _alternative(match: Match) -> str:
    """What a panel shows, for whoever cannot see it."""
    places = ", ".join(f"{one.words} {_place(one)}" for one in match.found)
    return f"Where the phrase is found: {places}"


def _place(found: Found) -> str:
    x, y = found.centre
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "centre"
    down = "at the top" if y < 1 / 3 else "at the bottom" if y > 2 / 3 else "in the middle"
    return f"{down}, {across}"


def _score_table(explanation: Explanation) -> dict[str, object]:
    """The caption and its wrong forms, each with the signal and the score of every trained method."""
    names = [meaning(name)[0] for name in explanation.methods]
    rows = []
    for place, (_, row) in enumerate(explanation.scores.iterrows()):
        columns = ("s_global_calibrated", "s_local_calibrated", "consistency", "agreement")
        cells = [shape(row[column], "fraction") for column in columns]
        for scores in explanation.methods.values():
            low, high = scores[place].min(), scores[place].max()
            spread = f" ({shape(low, 'fraction')} to {shape(high, 'fraction')})" if len(scores[place]) > 1 else ""
            cells.append(shape(scores[place].mean(), "fraction") + spread)
        rows.append({"kind": "as given" if place == 0 else words(row["kind"]), "text": row["text"], "cells": cells})
    return {
        "headers": [
            "S global, calibrated",
            "S local, calibrated",
            "C",
            "agreement",
            *(f"{name}, score" for name in names),
        ],
        "rows": rows,
        "trained": bool(names),
    }
