"""What the page says of methods that are told or cost more than the others."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from unit.report.fake_results import fake_config
from unit.report.page import read_page
from vialign.catalogue import METHODS, REGION_METHODS
from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.config.methods import TrainingConfig
from vialign.report.evidence import FILE, ROW, Evidence
from vialign.report.sections.supervision import setting, supervision

PATH = "budget/ledger.parquet"


@pytest.fixture
def evidence(tmp_path):
    rows = [
        ("vinvl", "vialign-scenes", "inference_overhead", 0.31, 0.29, 0.33),
        ("vinvl", "vialign-scenes", "training_overhead", 0.07, 0.05, 0.09),
        ("vinvl", "ViT-B-32", "inference_overhead", 0.99, 0.98, 1.0),
        ("lora", "vialign-scenes", "inference_overhead", 0.0, 0.0, 0.0),
    ]
    frame = pd.DataFrame(rows, columns=["method", "backbone", "measure", "value", "low", "high"])
    frame["outcome"] = "kept"
    frames = {"budget": frame.assign(**{FILE: PATH, ROW: range(len(frame))})}
    return Evidence(tmp_path, frames, (), None, {})


def page_of(evidence, methods):
    return read_page("".join(supervision(evidence, fake_config(), methods)))


def test_a_method_with_regions_stands_beside_its_supervision_and_its_cost(evidence):
    page = page_of(evidence, ["frozen", "vinvl", "uniter", "vialign-correct", "lora-boxes-wise"])
    lines = [" ".join(line.text().split()) for line in page.all("li")]
    assert [line.partition(":")[0] for line in lines] == ["vinvl", "uniter", "vialign-correct", "lora-boxes-wise"]
    assert "boxes with labels of some training images" in lines[3], "an average is told what the method is told"
    assert "boxes with labels of every image, those that it is tested on included" in lines[0]
    assert "31.0 [29.0, 33.0] % more time to score pairs, 7.0 [5.0, 9.0] % more time in a training step" in lines[0]
    assert lines[0].endswith("What finds the regions is not in that.")
    assert lines[1].endswith("The run's ledger has no times of it.") and "99" not in page.text()
    cited = [element.attributes for element in page.all("data") if "data-row" in element.attributes]
    assert {(mark["data-source"], mark["data-row"], mark["value"]) for mark in cited} >= {(PATH, "0", "0.31")}


def test_methods_without_more_stand_in_the_table_alone(evidence):
    page = page_of(evidence, ["frozen", "lora"])
    assert page.all("li") == [] and "lora" in page.text()
    assert all(METHODS[method].told for method in REGION_METHODS)


def test_the_table_of_terms_says_who_was_given_what_and_saw_how_much(evidence):
    # The search of one method was widened by one candidate, that of another not.
    steps = {"vialign": [(0, 1.0), (0, 2.0), (1, 5.0)], "lora": [(0, 70.0), (0, 5.0)]}
    steps["vialign-none"] = [(0, 9.0)]
    log = pd.DataFrame(
        [{"method": method, "seed": seed, "seconds": took} for method, rows in steps.items() for seed, took in rows]
    )
    evidence.frames["log"] = log[log["method"] != "vialign-none"]
    evidence.frames["early_log"] = log.assign(seconds=0.5)
    once = pd.DataFrame({"measure": ["one_off_seconds_text", "one_off_seconds_visual"], "value": [30.0, 12.0]})
    evidence.frames["budget"] = pd.concat([evidence.frames["budget"], once], ignore_index=True)
    tried = ["lora", "lora", "lora", "vinvl", "vinvl", "vialign", "vialign"]
    evidence.frames["search"] = pd.DataFrame({"method": tried})
    config = fake_config().model_copy(update={"training": TrainingConfig(batch=10, steps=7, early_steps=2)})
    fits = {"visual": VisualConfig(steps=3, batch=5), "text": TextConfig(steps=2, batch=4)}
    methods = ["frozen", "lora-wise", "lora-long", "lora-long-wise", "lora-boxes", "vinvl", "tip-adapter", "vialign"]
    page = read_page("".join(supervision(evidence, config.model_copy(update=fits), methods)))
    rows = [[" ".join(cell.text().split()) for cell in row.all("th") + row.all("td")] for row in page.all("tr")][1:]
    assert rows == [
        ["frozen", "no", "no", "no", "no", "0", "0", "0", "0", "–"],
        ["lora-wise", "no", "no", "no", "yes", "0", "70", "60", "0", "76"],
        ["lora-long", "no", "no", "no", "yes", "0", "100", "60", "0", "–"],
        ["lora-long-wise", "no", "no", "no", "yes", "0", "100", "60", "0", "–"],
        ["lora-boxes", "yes", "no", "no", "yes", "0", "70", "0", "0", "–"],
        ["vinvl", "no", "yes", "no", "yes", "0", "70", "40", "0", "–"],
        ["tip-adapter", "no", "no", "no", "no", "0", "1,000", "0", "0", "–"],
        ["vialign", "yes", "no", "yes", "yes", "23", "70", "40", "42", "5"],
    ]
    assert all(bool(METHODS[name].given) == bool(METHODS[name].told) for name in METHODS)


def test_without_negatives_in_the_recipe_no_method_has_them_but_those_that_they_define():
    config = fake_config().model_copy(update={"training": TrainingConfig(negatives=0.0)})
    methods = ["lora", "lora-boxes", "vialign", "labclip", "negclip", "fsc-clip", "negclip-wise"]
    page = read_page("".join(supervision(Evidence(Path(), {}, (), None, {}), config, methods)))
    rows = [[" ".join(cell.text().split()) for cell in row.all("th") + row.all("td")] for row in page.all("tr")][1:]
    assert [row[0] for row in rows if row[4] == "yes"] == methods[3:] and len(rows) == len(methods)


def test_the_page_says_how_many_images_the_boxes_are_of(evidence):
    config = fake_config()
    everything = f"at most {config.visual.images:,} training images"
    assert everything in " ".join(page_of(evidence, ["vialign"]).text().split())
    few = config.model_copy(update={"visual": config.visual.model_copy(update={"labelled": 50})})
    page = read_page("".join(supervision(evidence, few, ["vialign"])))
    assert "at most 50 training images" in " ".join(page.text().split())


def test_without_a_ledger_the_supervision_is_still_said(evidence):
    evidence.frames.clear()
    text = page_of(evidence, ["uniter"]).text()
    assert "boxes of every image" in text and "The run's ledger has no times of it." in text


def test_the_summary_says_on_which_backbone_and_with_which_supervision(evidence):
    compared = {**evidence.frames, "comparisons": pd.DataFrame({"method": ["vialign"]})}
    evidence = replace(evidence, frames=compared)
    said = str(setting(evidence, fake_config()))
    assert "<code>vialign-scenes</code>" in said and "<code>package</code>" in said
    assert f">{fake_config().visual.images:,}<" in said and "labelled boxes" in said
    few = fake_config().model_copy(update={"visual": VisualConfig(labelled=7)})
    assert ">7<" in str(setting(evidence, few))
    random = fake_config().model_copy(
        update={"backbone": fake_config().backbone.model_copy(update={"checkpoint": None})}
    )
    assert "none, drawn by seed" in str(setting(evidence, random))
    assert setting(Evidence(Path(), {}, (), None, {}), fake_config()) is None


def test_boxes_of_another_data_set_are_not_called_those_of_training_images(evidence):
    evidence = replace(evidence, frames={**evidence.frames, "comparisons": pd.DataFrame({"method": ["vialign"]})})
    own, other = fake_config(), fake_config(data={"disentangle": {"dataset": "visual_genome", "folder": "vg"}})
    for config, known in (
        (own, "training images, where the data set has any"),
        (other, "images of <code>visual_genome"),
    ):
        for said in (str(setting(evidence, config)), "".join(supervision(evidence, config, ["frozen"]))):
            assert known in said and ("visual_genome" in said) == (config is other)
            assert ("training images, where" in said) == (config is own)
