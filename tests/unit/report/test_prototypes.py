"""The prototypes' part of the page says what was compared, cites it, and says what is missing."""

import re

import numpy as np
import pandas as pd
import pytest

from unit.report.page import read_page
from vialign.report.evidence import FILE, ROW
from vialign.report.sections.prototypes import FAMILIES, prototype_blocks

PATH = "disentangle/visual_quality.parquet"
SUBJECTS = {"dictionary": 0.47, "random atoms": 0.2, "k-means": 0.38, "attention": 0.3, "ceiling": 0.59}


@pytest.fixture
def frame():
    rows = []
    for subject, value in SUBJECTS.items():
        for measure, count in (("iou mean", 500), *((f"iou class{n}", 90 - n) for n in range(15))):
            rows.append((subject, measure, value, value - 0.01, value + 0.01, count))
    rows += [(name, "maps", 8.0, np.nan, np.nan, 500) for name in SUBJECTS]
    rows += [("dictionary", f"stability {move} iou", 0.6, 0.58, 0.62, 500) for move in ("flip", "shift", "crop")]
    rows += [
        ("dictionary", "label accuracy", 0.37, 0.35, 0.4, 500),
        ("dictionary", "labels", 56.0, np.nan, np.nan, 500),
    ]
    frame = pd.DataFrame(rows, columns=["subject", "measure", "value", "low", "high", "count"])
    return frame.assign(domain="scenes", **{FILE: PATH, ROW: range(len(frame))})


def page_of(frame):
    return read_page("".join(prototype_blocks(frame, PATH)))


def test_every_reference_is_cited_beside_the_dictionary(frame):
    page = page_of(frame)
    cited = [
        float(element.attributes["value"]) for element in page.all("data") if element.nearest("data-source") == PATH
    ]
    assert cited == pytest.approx([0.47, 0.46, 0.48, 0.38, 0.3, 0.2, 0.59])
    assert "the tower's own attention" in page.text() and "left out" not in page.text()


def test_counts_are_not_drawn_and_classes_with_most_objects_come_first(frame):
    page = page_of(frame)
    titles = [figure.all("strong")[0].text().rstrip(".") for figure in page.all("figure")]
    assert titles == [family.title for family in FAMILIES]
    drawn = page.all("figure")[0].text()
    assert "class11" in drawn and "class12" not in drawn
    assert re.search(r"mean.*class0\b", drawn, re.DOTALL)
    assert all(name in drawn for name in SUBJECTS)
    assert "crop" in page.all("figure")[1].text()


def test_what_is_missing_is_said(frame):
    page = page_of(frame[frame["subject"] != "attention"])
    assert "no pooled token that attends to patches: that reference is left out" in page.text()
    bare = page_of(frame[frame["measure"].str.startswith("stability")])
    assert "Without boxes nothing is known" in bare.text() and len(bare.all("figure")) == 1
    assert not page_of(frame[frame["measure"] == "maps"]).all("figure")
