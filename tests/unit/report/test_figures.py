"""A drawing shows the frame it was given: positions on paper are the values, and nothing else."""

import re

import numpy as np
import pandas as pd
import pytest

from unit.report.page import read_page
from vialign.report.figures import curve_plot, distribution_plot, interval_plot, path_plot
from vialign.report.style import PALETTE, VARIABLES

FRAME = pd.DataFrame(
    {
        "kind": ["swap", "swap", "random", "random"],
        "signal": ["C", "S", "C", "S"],
        "value": [0.52, 0.61, 0.93, 0.77],
        "low": [0.50, 0.58, 0.90, 0.70],
        "high": [0.55, 0.66, 0.97, 0.80],
    }
)


def draw(frame: pd.DataFrame = FRAME, **changes: object) -> str:
    settings = dict(name="n", title="AUC", row="kind", value="value", series="signal", axis="AUC")
    return interval_plot(frame, **{**settings, **changes})


def drawn_part(svg: str) -> str:
    """The drawing without its legend, which holds dots and bars of its own."""
    return svg.split('id="n-legend_1"')[0]


def dots(svg: str) -> list[float]:
    svg = drawn_part(svg)
    return [float(x) for x in re.findall(r'<use href="#n-\w+" x="([\d.]+)" y="[\d.]+" style="fill: var\(--series', svg)]


def bars(svg: str) -> list[tuple[float, float]]:
    collections = re.findall(r'<g id="n-LineCollection_\d+">(.*?)</g>', drawn_part(svg), re.DOTALL)
    found = re.findall(r"M ([\d.]+) ([\d.]+) \nL ([\d.]+) \2", "".join(collections))
    return [(float(left), float(right)) for left, _, right in found]


def test_dots_and_bars_lie_at_their_values():
    svg = draw()
    ordered = pd.concat([FRAME[FRAME["signal"] == signal] for signal in ("C", "S")])
    ends = bars(svg)
    assert len(ends) == len(FRAME)
    slope, intercept = np.polyfit(ordered["low"], [left for left, _ in ends], 1)
    assert slope > 0
    for column, places in (("low", [left for left, _ in ends]), ("high", [right for _, right in ends])):
        assert np.allclose(slope * ordered[column] + intercept, places, atol=1e-3)
    assert np.allclose(slope * ordered["value"] + intercept, dots(svg), atol=1e-3)


def test_scale_turns_fractions_into_percent():
    labels = [float(element.text()) for element in read_page(draw(scale=100)).all("text") if element.text().isdigit()]
    assert max(labels) > 60


def test_a_missing_interval_is_a_bare_dot():
    svg = draw(FRAME.assign(low=np.nan, high=np.nan))
    assert all(left == right for left, right in bars(svg)) and len(dots(svg)) == len(FRAME)


def test_labels_from_data_are_escaped_and_named_for_screen_readers():
    svg = draw(FRAME.assign(kind="<script>alert(1)</script>"), title="a < b")
    assert "<script" not in svg and "alert" in read_page(svg).text()
    page = read_page(svg)
    assert page.all("title")[0].text() == "a < b"
    assert page.all("svg")[0].attributes["aria-labelledby"] == page.all("title")[0].attributes["id"]


def test_two_drawings_share_no_identifier():
    first, second = (read_page(draw(name=name)) for name in ("first", "second"))
    names = [{e.attributes["id"] for e in page.walk() if "id" in e.attributes} for page in (first, second)]
    assert names[0] and not names[0] & names[1]


def test_colours_are_variables_and_drawings_repeat():
    svg = draw(lines=[(0.5, "chance")])
    assert svg == draw(lines=[(0.5, "chance")])
    bare = svg
    for variable in VARIABLES.values():
        bare = bare.replace(variable, "")
    assert not re.findall(r"#[0-9a-f]{6}\b", bare)
    assert "chance" in read_page(svg).text() and "metadata" not in svg and "date" not in svg


def test_order_keeps_the_colour_of_a_series():
    alone = draw(FRAME[FRAME["signal"] == "S"], order=["C", "S"])
    assert VARIABLES[PALETTE[1]] in alone and VARIABLES[PALETTE[0]] not in alone


def test_curves_have_one_panel_a_facet_and_their_bands():
    frame = pd.concat([FRAME.assign(strength=float(s), value=FRAME["value"] - 0.01 * s) for s in range(3)])
    svg = curve_plot(
        frame, name="n", title="t", x="strength", y="value", low="low", high="high", series="signal", facet="kind",
        axes_labels=("strength", "AUC"),
    )  # fmt: skip
    assert svg.count('id="n-axes_') == 2
    assert len(re.findall(r'id="n-FillBetweenPolyCollection_\d+"|id="n-PolyCollection_\d+"', svg)) == 4
    assert {"swap", "random", "C", "S", "strength", "AUC"} <= {t.text().strip() for t in read_page(svg).all("text")}


def test_repetitions_are_thin_lines_around_their_mean():
    frame = pd.DataFrame({"step": [0, 1] * 2, "recall": [0.0, 1.0, 0.0, 3.0], "seed": [0, 0, 1, 1], "method": "m"})
    svg = curve_plot(
        frame, name="n", title="t", x="step", y="recall", series="method", repeat="seed", axes_labels=("step", "recall")
    )
    drawn = re.findall(
        r"M [\d.]+ ([\d.]+) \nL [\d.]+ ([\d.]+) \n\" clip-path=\"[^\"]*\" style=\"([^\"]*series[^\"]*)", svg
    )
    ends = [float(end) for _, end, _ in drawn]
    assert len(ends) == 3 and ends[2] == pytest.approx((ends[0] + ends[1]) / 2, abs=1e-3)


def test_distributions_have_area_one():
    values = np.random.default_rng(0).normal(size=400)
    frame = pd.DataFrame({"c": values, "kind": np.where(np.arange(400) % 2, "aligned", "random")})
    svg = distribution_plot(frame, name="n", title="t", value="c", series="kind", axis="C", bins=10)
    assert {"aligned", "random", "density", "C"} <= {t.text().strip() for t in read_page(svg).all("text")}
    assert len(re.findall(r'id="n-patch_\d+"', svg)) >= 4


def test_paths_end_in_a_large_mark():
    frame = pd.DataFrame({"c": [0.1, 0.2, 0.3], "r": [0.1, 0.3, 0.2], "seed": 0, "method": "m"})
    svg = path_plot(frame, name="n", title="t", x="c", y="r", series="method", repeat="seed", labels=("C", "R"))
    assert len(re.findall(r'<use href="#n-\w+" x="[\d.]+" y="[\d.]+" style="fill: var\(--series', svg)) >= 4


def test_a_constant_score_has_a_distribution_too():
    frame = pd.DataFrame({"c": [0.5] * 10, "kind": "aligned"})
    svg = distribution_plot(frame, name="n", title="t", value="c", series="kind", axis="C")
    assert "nan" not in svg.lower()
