"""The sections on monitoring and gradients: what it draws, what it says of warnings, and what it lacks."""

import pytest

from unit.report.fake_results import fake_config, write_fake_results
from unit.report.page import read_page
from vialign.report.evidence import read_evidence
from vialign.report.review import suggestions
from vialign.report.sections.monitoring import gradients, monitoring


def section(folder):
    evidence = read_evidence(folder, fake_config())
    blocks = [block for make in (monitoring, gradients) for block in make(evidence, fake_config()).blocks]
    return read_page("".join(blocks))


def sources(page):
    return {code.text() for code in page.all("code")}


def test_a_whole_run_shows_every_figure_with_its_table_and_where_it_warned(tmp_path):
    page = section(write_fake_results(tmp_path))
    assert len(page.all("figure")) == 3 + 2 + 3
    assert {
        "train/<method>/<seed>/signal_monitor.parquet",
        "analyse/monitoring.parquet",
        "analyse/gradient_terms.parquet",
        "analyse/gradient_samples.parquet",
        "analyse/optimisation_path.parquet",
    } <= sources(page)
    lines = [item.text() for item in page.all("li")]
    assert [" ".join(line.split()) for line in lines] == [
        "vialign, seed 0: windows that end at step 100.",
        "vialign, seed 1: windows that end at step 100.",
    ]
    assert not [p for p in page.all("p") if "absent" in p.attributes.get("class", "")]


def test_without_a_warning_it_says_so(tmp_path):
    folder = write_fake_results(tmp_path)
    evidence = read_evidence(folder, fake_config())
    evidence.frames["monitoring"]["warned"] = False
    page = read_page("".join(monitoring(evidence, fake_config()).blocks))
    assert "No early warning" in page.text()


@pytest.mark.parametrize(("stop", "figures"), [("early", 5), ("budget", 0)])
def test_a_stopped_run_shows_what_it_has(tmp_path, stop, figures):
    page = section(write_fake_results(tmp_path, stop=stop))
    assert len(page.all("figure")) == figures
    assert f"the {stop} gate stopped the run" in page.text()
    if stop == "early":
        assert {"gates/early_monitoring.parquet", "train/<method>/<seed>/early_signal_monitor.parquet"} <= sources(page)


def test_too_few_checks_for_a_correlation_are_said(tmp_path):
    folder = write_fake_results(tmp_path)
    evidence = read_evidence(folder, fake_config())
    frame = evidence.frames["monitoring"]
    evidence.frames["monitoring"] = frame[frame["correlation"].isna()]
    page = read_page("".join(monitoring(evidence, fake_config()).blocks))
    assert "no window holds enough checks" in page.text()


def test_the_review_of_a_run_that_a_warning_stopped_names_it(tmp_path):
    evidence = read_evidence(write_fake_results(tmp_path, stop="early"), fake_config())
    assert not [found for found in suggestions(evidence, fake_config()) if "move apart" in found.text]
    verdict = evidence.frames["gate_early"]
    verdict.loc[0, ["evidence", "value", "low", "high"]] = ["gates/early_monitoring.parquet", -0.9, -0.99, -0.2]
    text = next(found.text for found in suggestions(evidence, fake_config()) if "move apart" in found.text)
    assert "curriculum.consistency" in text and "\N{MINUS SIGN}0.900" in text
