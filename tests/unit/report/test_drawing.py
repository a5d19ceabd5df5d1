"""The rows that a drawing carries are the rows it shows, and its page can be of any size."""

import io
import re
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from unit.report.fake_results import PROVENANCE
from unit.report.large_results import large_config, write_large_results
from vialign.report.build import build_report
from vialign.report.evidence import FILE, ROW
from vialign.report.figures import curve_plot, distribution_plot, interval_plot

FRAME = pd.DataFrame(
    {
        "kind": ["a, b", 'a "quoted" %'],
        "value": [0.1, 0.30000000001],
        "low": [0.0, 0.2],
        "high": [0.2, np.nan],
        "unused": [1, 2],
    }
)


def read(address: str) -> pd.DataFrame:
    head, _, body = address.partition(",")
    assert head == "data:text/csv;charset=utf-8" and re.fullmatch(r"[\w%,:;/.~!*()@-]*", body)
    return pd.read_csv(io.StringIO(unquote(body)))


def test_an_address_holds_the_drawn_columns_and_only_these():
    drawing = interval_plot(FRAME, name="n", title="t", row="kind", value="value", axis="x", scale=100)
    assert drawing.startswith("<svg") and drawing.name == "n"
    pd.testing.assert_frame_equal(read(drawing.address()), FRAME.drop(columns="unused").round({"value": 9}))


def test_rows_say_where_they_stand_and_in_which_file_where_there_are_several():
    traced = FRAME.assign(**{FILE: "a.parquet", ROW: [4, 7]})
    plot = dict(name="n", title="t", row="kind", value="value", axis="x")
    assert interval_plot(traced, **plot).rows.columns.tolist() == ["kind", "value", "low", "high", "row"]
    traced[FILE] = ["a.parquet", "b.parquet"]
    assert interval_plot(traced, **plot).rows["file"].tolist() == ["a.parquet", "b.parquet"]


def test_a_distribution_carries_its_bins_and_curves_their_points():
    values = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"c": values, "kind": ["one", "two"] * 150})
    rows = distribution_plot(frame, name="n", title="t", value="c", series="kind", axis="C", bins=10).rows
    areas = ((rows["to"] - rows["from"]) * rows["density"]).groupby(rows["kind"]).sum()
    assert len(rows) == 20 and areas.tolist() == pytest.approx([1, 1])
    points = pd.DataFrame({"step": [0, 1], "recall": [0.1, 0.2], "seed": 0, "method": "m"})
    labels = ("step", "recall")
    curve = dict(name="n", title="t", x="step", y="recall", series="method", repeat="seed", axes_labels=labels)
    assert read(curve_plot(points, **curve).address())["recall"].tolist() == [0.1, 0.2]


def test_more_series_than_colours_still_differ_and_leave_the_panel_its_height():
    points = pd.DataFrame({"step": [0, 1] * 25, "recall": 0.5, "method": np.repeat([f"m{n}" for n in range(25)], 2)})
    plot = dict(name="n", title="t", x="step", y="recall", series="method", axes_labels=("step", "recall"))
    drawing = curve_plot(points, **plot)
    legend = drawing.split('id="n-legend_1"')[1]
    looks = re.findall(r'style="fill: none; ([^"]*stroke: var[^"]*)"', legend)
    assert len(looks) == len(set(looks)) == 25
    tops = [float(y) for y in re.findall(r"L [\d.]+ ([\d.]+)", drawing.split('id="n-patch_2"')[1][:300])]
    assert max(tops) - min(tops) > 90


def test_a_large_run_gives_a_page_whose_size_does_not_follow_its_items(tmp_path):
    folder = write_large_results(tmp_path, methods=12, seeds=2, benchmarks=4, items=1000)
    page = folder / "report/index.html"
    build_report(folder, large_config(12, 2), page, PROVENANCE)
    failed = len(pd.read_parquet(folder / "analyse/failures.parquet"))
    assert failed > 40_000 and page.stat().st_size < 5_000_000
    shown = len(set(re.findall(r"dotted red circle number \d+", page.read_text(encoding="utf-8"))))
    assert 0 < shown < 200
