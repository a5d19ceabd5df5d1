"""The section on trust: what it calls an addition, what it says of the control, and where there is nothing to tell."""

from dataclasses import replace

import numpy as np
import pytest

from unit.report.fake_results import fake_config
from unit.report.page import read_page
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.sections.trust import trust
from vialign.tables.signal import TRUST_DIRECTIONS


@pytest.fixture(scope="module")
def evidence(whole_run) -> Evidence:
    return read_evidence(whole_run, fake_config())


def page(evidence: Evidence, **frames):
    changed = replace(evidence, frames=evidence.frames | frames)
    return read_page("".join(trust(changed, fake_config()).blocks))


def lines(found) -> list[str]:
    return [" ".join(item.text().split()) for item in found.all("li")]


def test_each_direction_and_way_of_looking_has_its_verdict(evidence):
    found = page(evidence)
    said = lines(found)
    assert len(said) == 6 and all(line.startswith("test, ") for line in said)
    mine = [line for line in said if line.startswith("test, text to image, 25.0 % answered wrong: ")]
    assert len(mine) == 3
    assert (
        "the local ranking, with geometry, adds to the best simple confidences. AUROC 0.840 [0.820, 0.860] against "
        "0.800 [0.780, 0.820]; difference 0.040 [0.020, 0.060], p 0.004 after Holm's correction."
    ) in mine[0]
    assert "adds to the best simple confidences with whether the answer leads back. AUROC 0.860" in mine[1]
    assert "against 0.820 [0.800, 0.840]; difference 0.040" in mine[1]
    assert "the local ranking, without geometry, is not shown to add to" in mine[2]
    assert [len(table.all("tr")) for table in found.all("table")] == [1 + 18, 1 + 72]


def test_a_loss_is_called_one_and_an_uncorrected_gain_is_not_called_a_gain(evidence):
    frame = evidence.frames["trust"].copy()
    claim = (frame["predictor"] == "simple and local ranking") & (frame["local"] == "with geometry")
    first, second = (claim & (frame["split"] == "test") & (frame["direction"] == name) for name in TRUST_DIRECTIONS)
    frame.loc[first, ["difference", "difference_low", "difference_high"]] = -0.1
    frame.loc[second, "p_holm"] = 0.06
    said = [line for line in lines(page(evidence, trust=frame)) if "the local ranking, with geometry" in line]
    assert "image to text" in said[0] and "is worse than" in said[0]
    assert "text to image" in said[1] and "is not shown to add to" in said[1]


def test_a_split_whose_answers_are_alike_and_one_that_is_cross_validated_say_so(evidence):
    frame = evidence.frames["trust"]
    said = lines(page(evidence, trust=frame[frame["split"] == "test_domain"]))
    assert sum("all answers are alike" in line for line in said) == 3 and len(said) == 6
    said = lines(page(evidence, trust=frame[frame["split"] == "validation"]))
    assert all("cross-validated by image" in line for line in said) and len(said) == 6


def test_the_control_is_said_and_a_control_that_adds_is_a_warning(evidence):
    assert "shuffled over the queries, adds nothing, as it must (" in page(evidence).text()
    frame = evidence.frames["trust"].copy()
    row = frame.index[(frame["local"] == "shuffled") & (frame["split"] == "test")][0]
    frame.loc[row, ["difference_low", "p_holm"]] = (0.01, 0.01)
    assert "adds something where it must not, so trust none of the above" in page(evidence, trust=frame).text()


def test_figures_are_of_a_split_that_nothing_was_fitted_on(evidence):
    found = page(evidence)
    titles = {svg.attributes["aria-labelledby"] for svg in found.all("svg")}
    curves = {"trust-curves-image-to-text-title", "trust-curves-text-to-image-title"}
    assert titles == curves | {"trust-predictors-title", "trust-differences-title"}
    text = found.text()
    assert "Risk against coverage, test" in text and "share of answers kept" in text
    assert all("analyse/trust" in shown.text() for shown in found.all("figure"))


def test_without_the_tables_or_an_auroc_it_says_so(evidence):
    frame = evidence.frames["trust"]
    gone = page(evidence, trust=frame.iloc[:0])
    assert "Not available: the predictors of wrong answers" in gone.text() and not gone.all("svg")
    curves = evidence.frames["trust_curves"]
    assert "Not available: the risk-coverage curves" in page(evidence, trust_curves=curves.iloc[:0]).text()
    columns = ["auroc", "difference", "difference_low", "difference_high", "p_value", "p_holm"]
    alike = page(evidence, trust=frame.assign(**dict.fromkeys(columns, np.nan)))
    assert "Not available: an AUROC" in alike.text()
    assert len(alike.all("svg")) == 2
