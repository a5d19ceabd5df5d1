import pandas as pd
import pytest

from vialign.config.evaluation import ExpectedValue
from vialign.data.datasets.flickr8k import NOTE as FLICKR8K
from vialign.errors import UserError
from vialign.evaluation.published_values import published_values
from vialign.evaluation.reproduced import require_reproduction
from vialign.evaluation.reproduction import (
    NO_CAUSE,
    Measured,
    check_reproduction,
    has_known_values,
    likely_cause,
    measured_with,
)
from vialign.tables.evaluation import REPRODUCTION

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


def test_retrieval_is_held_against_its_own_data_set_and_checkpoint_only():
    measured = results(
        ("frozen", "test/image_to_text", "r1", "micro", 0.7895),
        ("frozen", "test/text_to_image", "r1", "micro", 0.5912),
        ("lora", "test/text_to_image", "r5", "micro", 0.8356),
    )
    rows = REPRODUCTION.check(check_reproduction(measured, *OPENAI, "flickr30k")).set_index("metric")
    assert rows["passed"].to_dict() == {"image_to_text_r1": True, "text_to_image_r1": False}
    assert rows.loc["text_to_image_r1", ["published", "measured"]].tolist() == [58.78, pytest.approx(59.12)]
    assert check_reproduction(measured, *OPENAI, "flickr8k").empty
    assert check_reproduction(measured, "ViT-B-16-quickgelu", "openai", "flickr30k").empty
    assert check_reproduction(measured, "ViT-B-32", "laion400m_e32", "flickr30k").empty
    assert check_reproduction(measured, OPENAI[0], None, "flickr30k").empty


def test_choices_use_their_convention_and_the_embedded_world_is_no_benchmark():
    measured = results(
        ("frozen", "winoground/winoground", "text", "micro", 0.3125),
        ("frozen", "aro/aro_relation", "accuracy", "micro", 0.10),
        ("frozen", "aro/aro_relation", "accuracy", "macro", 0.20),
        ("frozen", "aro/aro_relation", "accuracy", "published", 0.599),
        ("frozen", "test/aro_coco_order", "accuracy", "micro", 0.30),
        ("frozen", "test/aro_coco_order", "accuracy", "lenient", 0.4756),
        ("frozen", "test/aro_flickr_order", "accuracy", "micro", 0.5956),
    )
    rows = check_reproduction(measured, *OPENAI, "coco")
    assert set(rows["benchmark"]) == {"winoground", "aro_vg_relation", "aro_coco_order", "aro_flickr_order"}
    assert rows["passed"].all()
    assert set(rows["cause"]) == {""}
    # Benchmarks with images of their own count beside the embedded world, which has only borrowed names itself.
    assert set(check_reproduction(measured, *OPENAI, "scenes")["benchmark"]) == {"winoground", "aro_vg_relation"}
    borrowed = results(("frozen", "test/winoground", "text", "micro", 0.3125))
    assert check_reproduction(borrowed, *OPENAI, "scenes").empty


def test_coco_is_held_against_the_values_of_its_test_images():
    measured = results(("frozen", "test/text_to_image", "r1", "micro", 0.3044))
    assert check_reproduction(measured, *OPENAI, "coco")["passed"].tolist() == [True]
    assert check_reproduction(measured, *OPENAI, "coco")["benchmark"].tolist() == ["coco_5k"]


def test_a_backbone_is_checked_first_where_something_is_known_of_it():
    assert has_known_values(*OPENAI, ())
    assert has_known_values("ViT-B-32", "openai", ()), "the same weights under the wrong activation are held against it"
    assert not has_known_values("vialign-scenes", "package", ())
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=1.0, tolerance=1.0, source="mine")
    assert has_known_values("vialign-scenes", "package", (value,))


def test_expected_values_come_from_the_config_and_a_wrong_name_is_an_error():
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.1601))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    assert check_reproduction(measured, "flickr8k_base", None, "flickr8k", [value])["passed"].tolist() == [False]
    wide = value.model_copy(update={"tolerance": 0.32})
    assert check_reproduction(measured, "flickr8k_base", None, "flickr8k", [wide])["passed"].tolist() == [True]
    wrong = value.model_copy(update={"metric": "r2"})
    with pytest.raises(UserError, match="test/image_to_text, r2 was not evaluated"):
        check_reproduction(measured, "flickr8k_base", None, "flickr8k", [wrong])


def test_a_difference_of_exactly_the_tolerance_passes():
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.160))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    assert check_reproduction(measured, "x", None, "flickr8k", [value])["passed"].tolist() == [True]


COUNTS = {"test images": 1000, "test captions": 5000, "validation images": 1014, "images": 31014}
AS_PUBLISHED = {"test images": 1000, "test captions": 5000}
PLAIN = {"activation": "gelu", "preprocessing": "size 224, bicubic, resize shortest, mean (0, 0, 0)"}
QUICK = {**PLAIN, "activation": "quick_gelu"}

CAUSES = {
    "activation": (Measured(PLAIN, AS_PUBLISHED), ["activation: the weights were trained with quick_gelu"]),
    "validation split": (
        Measured(QUICK, {"test images": 1014, "test captions": 5070}),
        ["1,014 images instead of 1,000, as many as there are validation images"],
    ),
    "every image": (
        Measured(QUICK, {"test images": 31783, "test captions": 158915}),
        ["wrong split or gallery: 31,783 images instead of 1,000"],
    ),
    "one caption": (
        Measured(QUICK, {"test images": 1000, "test captions": 1000}),
        ["captions: 1 an image instead of 5"],
    ),
    "squashed": (Measured({**QUICK, "preprocessing": "size 224, bicubic, resize squash"}, AS_PUBLISHED), ["squashed"]),
    "squares": (Measured(QUICK, AS_PUBLISHED, square=True), ["all are squares of one size"]),
    "several": (Measured(PLAIN, AS_PUBLISHED, square=True), ["activation: ", "; images: all are squares"]),
    "none": (Measured(QUICK, AS_PUBLISHED), [NO_CAUSE]),
    "nothing known": (Measured(), [NO_CAUSE]),
}


@pytest.mark.parametrize("case", CAUSES)
def test_the_cause_that_fits_a_miss_is_named(case):
    measured, parts = CAUSES[case]
    cause = likely_cause(["test"], measured, COUNTS, OPENAI[0])
    for part in parts:
        assert part in cause
    assert ";" in cause or case != "several"
    assert case == "several" or ";" not in cause


def test_a_choice_benchmark_with_too_few_items_says_so():
    measured = Measured(QUICK, {"winoground": 171})
    cause = likely_cause(["winoground"], measured, {"winoground items": 400}, OPENAI[0])
    assert cause == "another number of items: 171 instead of 400"


def test_how_values_were_measured_is_read_from_results_and_images():
    measured = results(
        ("frozen", "test/image_to_text", "r1", "micro", 0.1),
        ("frozen", "test/text_to_image", "r1", "micro", 0.1),
        ("frozen", "winoground/winoground", "text", "micro", 0.1),
    ).assign(items=[10, 50, 400])
    images = pd.DataFrame({"split": ["test", "test", "train"], "width": [224, 224, 500], "height": [224, 224, 300]})
    found = measured_with(measured, "test", PLAIN, images)
    assert (found.counts["test images"], found.counts["test captions"]) == (10, 50)
    assert found.counts["winoground"] == 400
    assert found.square
    assert not measured_with(measured, "test", PLAIN, images.assign(width=[224, 225, 224])).square
    assert not measured_with(measured, "test", PLAIN, None).square


def test_causes_stand_in_the_table_where_a_value_is_missed():
    """The photographs of Flickr8k at hand are squashed, and the test split is not cut: both as the report must say."""
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.10)).assign(items=1000)
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    images = pd.DataFrame({"split": ["test"] * 2, "width": [224] * 2, "height": [224] * 2})
    row = check_reproduction(
        measured, "base", None, "flickr8k", [value], contract=PLAIN, images=images, published_counts=FLICKR8K.expected
    ).iloc[0]
    assert not row["passed"]
    assert row["cause"].startswith("images: all are squares of one size")
    plain = results(("frozen", "test/text_to_image", "r1", "micro", 0.40))
    row = check_reproduction(plain, "ViT-B-32", "openai", "flickr30k", contract=PLAIN).iloc[0]
    assert row["cause"] == (
        "activation: the weights were trained with quick_gelu, the model has gelu (use ViT-B-32-quickgelu)"
    )


def test_a_missed_value_refuses_training_in_one_line_unless_it_only_warns(capsys):
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.10))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    missed = check_reproduction(measured, "base", None, "flickr8k", [value])
    assert not missed["passed"].any()
    with pytest.raises(UserError, match=r"measured 10\.00 %, published 15\.70 % within 0\.3 points") as refused:
        require_reproduction(missed, "refuse")
    assert "\n" not in str(refused.value)
    assert "evaluation.reproduction.action: warn" in str(refused.value)
    require_reproduction(missed, "warn")
    assert "training goes on" in capsys.readouterr().err


def test_reproduced_values_and_no_values_at_all_let_training_begin(capsys):
    measured = results(("frozen", "test/image_to_text", "r1", "micro", 0.157))
    value = ExpectedValue(benchmark="test/image_to_text", metric="r1", percent=15.7, source="README of the base")
    for table in (check_reproduction(measured, "base", None, "flickr8k", [value]), REPRODUCTION.empty()):
        assert table["passed"].all()
        require_reproduction(table, "refuse")
    assert capsys.readouterr().err == ""
