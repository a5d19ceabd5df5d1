from dataclasses import replace

import numpy as np
import pytest

from unit.report.fake_results import fake_config
from unit.report.page import read_page
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.sections.stress import stress


@pytest.fixture(scope="module")
def evidence(whole_run) -> Evidence:
    return read_evidence(whole_run, fake_config())


def page(evidence: Evidence, **frames):
    changed = replace(evidence, frames=evidence.frames | frames)
    return read_page("".join(stress(changed, fake_config())))


def said(page) -> str:
    return " ".join(" ".join(part.text() for part in page.all("p")).split())


def test_both_means_and_their_difference_are_said_for_each_kind(evidence):
    text = said(page(evidence))
    for kind in ("On random captions", "On hard negatives"):
        assert kind in text
    assert text.count("C, calibrated keeps 0.800 [0.750, 0.850]; S global keeps 0.700") == 2
    assert text.count("paired difference 0.100 [0.060, 0.140]") == 2


def test_a_signal_at_chance_has_nothing_to_lose(evidence):
    frame = evidence.frames["stress_summary"].copy()
    lost = (frame["signal"] == "consistency") & (frame["kind"] == "random")
    columns = ["relative_area", "low", "high", "difference", "difference_low", "difference_high"]
    frame.loc[lost, columns] = np.nan
    frame.loc[lost, "clean"] = 0.4
    found = page(evidence, stress_summary=frame)
    assert "C, calibrated has nothing to lose (AUC 0.400 when clean); S global keeps 0.700" in said(found)
    assert said(found).count("paired difference") == 1
    assert {svg.attributes["aria-labelledby"] for svg in found.all("svg")} >= {
        "stress-kept-random-title",
        "stress-kept-hard-title",
    }


def test_every_unit_has_its_figure_and_a_data_set_without_another_domain_says_so(evidence):
    frame = evidence.frames["stress"]
    names = {svg.attributes["aria-labelledby"] for svg in page(evidence).all("svg")}
    assert {f"stress-{number}-title" for number in (0, 1, 2, 4)} | {"stress-domain-title"} <= names
    without = page(evidence, stress=frame[frame["unit"] != "domain"])
    assert "Not available: another domain, which this data set does not have" in said(without)
    assert "stress-domain-title" not in {svg.attributes["aria-labelledby"] for svg in without.all("svg")}


def test_without_a_stress_test_nothing_is_drawn(evidence):
    found = page(evidence, stress=evidence.frames["stress"].iloc[:0])
    assert "Not available: the stress test" in said(found) and not found.all("svg")
