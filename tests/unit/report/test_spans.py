"""The part of the page on phrase units under typos and across domains."""

import re

import numpy as np
import pandas as pd
import pytest

from unit.report.fake_results import fake_config, write_fake_results
from unit.report.page import read_page
from vialign.files.artifacts import read_table, write_table
from vialign.report.evidence import read_evidence
from vialign.report.sections.spans import span_blocks
from vialign.tables.language import SPANS

PATH = "disentangle/text_domains.parquet"


@pytest.fixture
def results(tmp_path):
    return write_fake_results(tmp_path)


def blocks_of(results):
    return "".join(span_blocks(read_evidence(results, fake_config())))


def words_of(results):
    return re.sub("<[^>]+>", "", blocks_of(results))


def test_figure_and_tables_name_their_files_and_cite_their_cells(results):
    html = blocks_of(results)
    page = read_page(html)
    assert html.count("<svg") == 2
    for title in (
        "newswire \N{RIGHTWARDS ARROW} captions",
        "captions \N{RIGHTWARDS ARROW} captions",
        "words with a typo",
    ):
        assert title in html
    cited = [element.attributes["value"] for element in page.all("data") if element.nearest("data-source") == PATH]
    numbers = set(pd.to_numeric(pd.Series(cited), errors="coerce").round(9))
    frame = read_table(results / PATH, SPANS)
    for column in ("f1", "low", "margin"):
        assert set(frame[column].dropna().round(9)) <= numbers
    assert "disentangle/text_spans.parquet" in html


def test_the_answer_says_whether_the_mixed_path_keeps_up(results):
    assert "mixed path keeps up with" in blocks_of(results)
    frame = read_table(results / PATH, SPANS)
    worse = (frame["path"] == "mixed") & (frame["typos"] == 0.2)
    frame.loc[worse, "margin"] = -0.03
    write_table(frame, SPANS, results / PATH, {"rule": "fake"})
    html = words_of(results)
    assert "mixed path falls behind the better single path" in html and "\N{MINUS SIGN}3.0 points" in html


def test_wins_are_counted_by_the_interval(results):
    frame = read_table(results / PATH, SPANS)
    asked = frame["path"] == "asked"
    frame.loc[asked, "margin_low"] = np.where(frame.loc[asked, "typos"] == 0.1, 0.001, -0.001)
    write_table(frame, SPANS, results / PATH, {"rule": "fake"})
    assert "parser asked about every text in 2 of 6" in words_of(results)


def test_a_run_without_these_tables_says_nothing(results):
    for name in ("text_spans", "text_domains"):
        write_table(SPANS.empty(), SPANS, results / f"disentangle/{name}.parquet", {"rule": "fake"})
    assert blocks_of(results) == ""
