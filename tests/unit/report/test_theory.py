"""The part on theory: what it draws and says, that it outlives a stop, and that a run without the worlds says so."""

import pytest

from unit.report.fake_results import fake_config, write_fake_results
from unit.report.page import read_page
from vialign.report.evidence import read_evidence
from vialign.report.sections import gradients_and_theory
from vialign.report.sections.theory import MEANINGS
from vialign.tables.theory import THEORY_WORLDS


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Of a run that the first gate stopped: the worlds read no data, so they are there."""
    return read_evidence(write_fake_results(tmp_path_factory.mktemp("theory"), stop="signal"), fake_config())


@pytest.fixture(scope="module")
def page(evidence):
    return read_page("".join(gradients_and_theory(evidence, fake_config()).blocks))


def test_every_world_is_explained_with_its_correlations(page):
    lines = [" ".join(item.text().split()) for item in page.all("li")]
    assert set(MEANINGS) == set(THEORY_WORLDS)
    assert [line.split(":")[0] for line in lines] == list(MEANINGS)
    assert "C 0.900 [0.800, 0.950]" in lines[0] and "C 0.000 [" in lines[3]
    assert [("misleads" in line) for line in lines] == [False, True, False, True]


def test_figures_show_the_ceiling_and_name_their_table(page):
    figures = page.all("figure")
    assert len(figures) == 5
    assert all("analyse/theory.parquet" in figure.text() for figure in figures)
    assert "log of the batch" in figures[-1].text()
    assert len(page.all("table")) == 2


def test_without_the_worlds_it_says_so(evidence, monkeypatch):
    monkeypatch.delitem(evidence.frames, "theory")
    page = read_page("".join(gradients_and_theory(evidence, fake_config()).blocks))
    assert not page.all("figure") and "Not available: the worlds" in page.text()
