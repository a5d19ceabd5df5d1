import pandas as pd
import pytest

from vialign.config import ExpectedValue
from vialign.errors import UserError
from vialign.evaluation.calibration import check_calibration, published_values
from vialign.tables import CALIBRATION

OPENAI = ("ViT-B-32-quickgelu", "openai")


def results(*rows):
    frame = pd.DataFrame(rows, columns=["method", "benchmark", "measure", "convention", "value"])
    return frame.assign(low=0.0, high=1.0, items=10, seeds=1, ties=0)


def test_the_shipped_values_are_whole_and_unique():
    table = published_values()
    assert list(table) == ["architecture", "checkpoint", "benchmark", "metric", "percent", "tolerance", "source"]
    assert not table.isna().any().any()
    assert not table.duplicated(["architecture", "checkpoint", "benchmark", "metric"]).any()
    assert table["percent"].between(0, 100).all()
    assert (table["tolerance"] > 0).all()


def test_retrieval_is_held_against_its_own_data_set_and_architecture_only():
    measured = results(
        ("frozen", "test/image_to_text", "r1", "micro", 0.7895),
        ("frozen", "test/text_to_image", "r1", "micro", 0.5912),
        ("lora", "test/text_to_image", "r5", "micro", 0.8356),
    )
    rows = CALIBRATION.check(check_calibration(measured, *OPENAI, "flickr30k")).set_index("metric")
    assert rows["passed"].to_dict() == {"image_to_text_r1": True, "text_to_image_r1": False}
    assert rows.loc["text_to_image_r1", ["published", "measured"]].tolist() == [58.78, pytest.approx(59.12)]
    assert check_calibration(measured, *OPENAI, "flickr8k").empty
    assert check_calibration(measured, "ViT-B-32", "openai", "flickr30k").empty
    assert check_calibration(measured, OPENAI[0], None, "flickr30k").empty


def test_choices_use_their_convention_and_the_embedded_world_is_no_benchmark():
    measured = results(
        ("frozen", "test/winoground", "text", "micro", 0.3125),
        ("frozen", "test/aro_vg_relation", "accuracy", "micro", 0.10),
        ("frozen", "test/aro_vg_relation", "accuracy", "macro", 0.599),
    )
    rows = check_calibration(measured, *OPENAI, "winoground")
    assert rows["benchmark"].tolist() == ["winoground", "aro_vg_relation"]
    assert rows["passed"].all()
    assert check_calibration(measured, *OPENAI, "scenes").empty


def test_expected_values_come_from_the_config_and_a_wrong_name_is_an_error():
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.1601))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    assert check_calibration(measured, "flickr8k_base", None, "flickr8k", [value])["passed"].tolist() == [False]
    wide = value.model_copy(update={"tolerance": 0.32})
    assert check_calibration(measured, "flickr8k_base", None, "flickr8k", [wide])["passed"].tolist() == [True]
    wrong = value.model_copy(update={"metric": "r2"})
    with pytest.raises(UserError, match="test/image_to_text, r2 was not evaluated"):
        check_calibration(measured, "flickr8k_base", None, "flickr8k", [wrong])


def test_a_difference_of_exactly_the_tolerance_passes():
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.160))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    assert check_calibration(measured, "x", None, "flickr8k", [value])["passed"].tolist() == [True]
