"""The page of the full comparison: who is held against whom, and no section of a method that was not asked for."""

import shutil

import pytest

from unit.report.fake_results import fake_config, write_fake_results
from unit.report.page import read_page
from vialign.report.compare_all import build_compare_all
from vialign.stage import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose full comparison is its comparison."""
    made = write_fake_results(tmp_path_factory.mktemp("run") / "results")
    shutil.copytree(made / "compare", made / "compare_all")
    shutil.copy(made / "budget/ledger.parquet", made / "compare_all")
    return made


def page(folder, compare, monkeypatch):
    monkeypatch.chdir(folder.parent)
    config = fake_config(training={"compare": compare})
    output = "results/report/compare_all.html"
    build_compare_all(Run({}, [output], None, None, 1, config, {}))
    return read_page((folder.parent / output).read_text(encoding="utf-8"))


def test_every_line_says_against_whom(folder, monkeypatch):
    shown = page(folder, ["frozen", "lora", "vialign"], monkeypatch)
    lines = [" ".join(item.text().split()) for item in shown.all("li")]
    counted = [line for line in lines if "significantly better on" in line]
    assert [line.partition(":")[0] for line in counted] == ["Against Frozen", "Against LoRA"]


@pytest.mark.parametrize("asked", [True, False])
def test_the_guided_rate_has_a_section_where_it_was_asked_for(folder, monkeypatch, asked):
    shown = page(folder, ["frozen", "lora", "vialign", *(["vialign-guided"] if asked else [])], monkeypatch)
    assert ("Signal-guided learning rate" in shown.text()) == asked
