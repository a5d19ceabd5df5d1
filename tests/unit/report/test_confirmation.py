"""What the report says of the split that led to nothing before."""

import re
from dataclasses import replace

import pytest

from unit.report.fake_results import fake_config, write_fake_results
from vialign.report.evidence import Evidence, read_evidence
from vialign.report.sections.confirmation import claims, confirmation_answer, confirmation_blocks

CONFIG = fake_config()


@pytest.fixture(scope="module")
def evidence(tmp_path_factory) -> Evidence:
    return read_evidence(write_fake_results(tmp_path_factory.mktemp("run")), CONFIG)


def with_frame(evidence, name, change) -> Evidence:
    return replace(evidence, frames={**evidence.frames, name: change(evidence.frames[name])})


def where(frame, column, value, benchmark):
    """The frame with another value of a column on one benchmark."""
    return frame.assign(**{column: frame[column].mask(frame["benchmark"] == benchmark, value)})


def test_every_claim_of_the_headline_says_whether_fresh_images_confirm_it(evidence):
    sentence = str(confirmation_answer(evidence, CONFIG))
    assert sentence.startswith("<strong>Confirmed in part</strong>: ")
    assert [int(number) for number in re.findall(r">(\d)</data>", sentence)] == [5, 6]
    assert sentence.endswith("; not text to image, R@1 against lora.")
    items = re.findall("<li>(.*?)</li>", str(confirmation_blocks(evidence, CONFIG)[2]))
    assert ["not confirmed" in item for item in items] == [False, False, False, False, True, False]
    assert all("points on test" in item and "on confirmation" in item for item in items)


@pytest.mark.parametrize(
    ("lead", "change"),
    [
        ("Confirmed", lambda frame: frame.assign(p_holm=0.049)),
        ("Not confirmed", lambda frame: frame.assign(p_holm=0.051)),
        ("Not confirmed", lambda frame: frame.assign(difference=-frame["difference"], p_holm=0.001)),
        ("Not confirmed", lambda frame: frame.head(0)),
        ("Not confirmed", lambda frame: frame.assign(method="another")),
    ],
)
def test_confirmed_is_what_counts_with_the_same_sign(evidence, lead, change):
    found = with_frame(evidence, "confirmation", change)
    assert str(confirmation_answer(found, CONFIG)).startswith(f"<strong>{lead}</strong>: ")
    assert "confirmed" in "".join(map(str, confirmation_blocks(found, CONFIG))) or found.get("confirmation") is None


def test_a_loss_is_a_claim_too_and_negatives_are_one_where_the_test_split_has_them(evidence):
    def worse(frame):
        rows = frame[frame["benchmark"].str.endswith("aro_relation")]
        frame = frame.assign(benchmark=frame["benchmark"].mask(frame.index.isin(rows.index), "test/negatives"))
        return frame.assign(difference=-frame["difference"])

    lost = with_frame(evidence, "comparisons", worse)
    lost = with_frame(lost, "confirmation", lambda frame: frame.assign(difference=-frame["difference"]))
    assert [claim.confirmed for claim in claims(lost, CONFIG)] == [True, True, True, True, False, True]
    assert sum(claim.name.startswith("rule-made") for claim in claims(lost, CONFIG)) == 2


def test_what_does_not_count_or_needs_no_image_is_no_claim(evidence):
    one = with_frame(evidence, "comparisons", lambda frame: where(frame, "p_holm", 0.5, "test/text_to_image"))
    assert {claim.name for claim in claims(one, CONFIG)} == {"image to text, R@1", "exchanged roles, accuracy"}
    none = with_frame(one, "comparisons", lambda frame: where(frame, "p_holm", 0.5, "test/aro_relation"))
    none = with_frame(none, "blind", lambda frame: frame.head(1).assign(benchmark="test/image_to_text", solved=True))
    said = str(confirmation_answer(none, CONFIG))
    assert said.startswith("<strong>Nothing to confirm</strong>")
    assert said.endswith("; text alone solves image to text, R@1, so no difference there counts.")


def test_a_run_without_comparisons_says_nothing(evidence):
    assert confirmation_answer(with_frame(evidence, "comparisons", lambda frame: frame.head(0)), CONFIG) is None
