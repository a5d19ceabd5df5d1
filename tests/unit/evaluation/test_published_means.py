"""Means over the parts of a benchmark against sums by hand, with the weights that vl_compo's own two files show."""

import pandas as pd
import pytest

from vialign.evaluation import published_means
from vialign.evaluation.published_means import MEANS, METRIC
from vialign.evaluation.published_values import WIDE, shipped_values
from vialign.evaluation.reproduction import check_reproduction
from vialign.names import BENCHMARKS

ITEMS = {"replace_obj": 1652, "replace_att": 788, "replace_rel": 1406, "swap_obj": 245, "swap_att": 666}
ITEMS |= {"add_obj": 2062, "add_att": 692}
CHECKPOINT = {
    "replace_obj": 91.2227602905569, "replace_att": 85.91370558375635, "replace_rel": 83.92603129445236,
    "swap_obj": 71.83673469387755, "swap_att": 75.37537537537537,
    "add_obj": 87.48787584869059, "add_att": 95.52023121387283,
}  # fmt: skip
"""SugarCrepe of one checkpoint (DAC-SAM) in individual_results.csv, whose mean in results.csv is 83.8."""
VALSE = {
    "existence": 87.83873099801718, "plurals": 88.89623266036352, "counting_hard": 80.1, "counting_small_quant": 60.0,
    "counting_adversarial": 55.5, "relations": 70.0, "action_replacement": 75.0, "actant_swap": 45.0,
    "coreference_standard": 52.0, "coreference_hard": 44.0, "foil_it": 92.0,
}  # fmt: skip


NOT_READ = {
    "aro": "ARO",
    "eqben": "EqBen",
    "svo_probes": "SVO-Probes",
    "vl_checklist": "VL-CheckList",
    "crepe": "CREPE",
}
"""Columns of results.csv on composition that are compared with nothing, and what they are about."""


def test_what_is_not_read_of_the_published_file_is_said_with_its_reason(repository):
    told = [published_means.__doc__, (repository / "docs/compare.md").read_text()]
    assert all(name in text for name in NOT_READ.values() for text in told) and not set(NOT_READ) & set(WIDE)


@pytest.mark.parametrize(("checkpoint", "published"), [("openai", 57.55), ("laion2b_s34b_b79k", 44.92)])
def test_aro_as_published_is_the_mean_of_two_tasks_and_both_orders(checkpoint, published):
    """As results.csv has it, of the parts that individual_results.csv has, which the package holds."""
    values = shipped_values()
    parts = values[(values["checkpoint"] == checkpoint) & values["benchmark"].str.startswith("aro_")]
    assert sorted(parts["benchmark"]) == ["aro_coco_order", "aro_flickr_order", "aro_vg_attribution", "aro_vg_relation"]
    assert parts["percent"].mean() == pytest.approx(published, abs=0.0051)


def results(split, parts, items=None):
    rows = [(f"{split}/{split}_{part}", value / 100, (items or {}).get(part, 7)) for part, value in parts.items()]
    frame = pd.DataFrame(rows, columns=["benchmark", "value", "items"])
    about = {"method": "frozen", "measure": "accuracy", "convention": "micro", "low": 0.0, "high": 1.0}
    return frame.assign(**about, seeds=1, ties=0)


def test_sugarcrepe_is_the_published_mean_of_a_checkpoint_and_not_that_of_its_seven_parts():
    found = MEANS["sugarcrepe"].of(results("sugarcrepe", CHECKPOINT, ITEMS))
    assert 100 * found == pytest.approx(83.8, abs=0.005)
    assert sum(CHECKPOINT.values()) / 7 == pytest.approx(84.47, abs=0.01)
    kinds = []
    for kind in ("replace", "swap", "add"):
        own = [name for name in CHECKPOINT if name.startswith(kind)]
        solved = sum(round(CHECKPOINT[name] * ITEMS[name] / 100) for name in own)
        kinds.append(solved / sum(ITEMS[name] for name in own))
    assert found == pytest.approx(sum(kinds) / 3)


def test_valse_weighs_its_seven_phenomena_alike():
    value = VALSE
    counting = (value["counting_hard"] + value["counting_small_quant"] + value["counting_adversarial"]) / 3
    actions = (value["action_replacement"] + value["actant_swap"]) / 2
    coreference = (value["coreference_standard"] + value["coreference_hard"]) / 2
    alone = value["existence"] + value["plurals"] + value["relations"] + value["foil_it"]
    expected = (alone + counting + actions + coreference) / 7
    items = {"existence": 505, "foil_it": 943}
    assert 100 * MEANS["valse"].of(results("valse", value, items)) == pytest.approx(expected)


def test_whatsup_weighs_its_six_parts_alike():
    parts = dict(zip(("a", "b", "coco_one", "coco_two", "vg_one", "vg_two"), (20, 30, 40, 50, 60, 76), strict=True))
    assert MEANS["whatsup"].of(results("whatsup", parts, {"a": 412, "vg_two": 291})) == pytest.approx(0.46)


@pytest.mark.parametrize("name", MEANS)
def test_a_part_that_is_missing_leaves_no_mean(name):
    mean = MEANS[name]
    parts = {part.removeprefix(f"{name}_"): 50.0 for part in mean.parts}
    table = results(name, parts)
    assert mean.of(table) == pytest.approx(0.5) and WIDE[name] == (name, METRIC) and name in BENCHMARKS
    for row in range(len(table)):
        assert mean.of(table.drop(row)) is None
    assert mean.of(table.assign(convention="macro")) is None


def test_a_frozen_backbone_is_held_against_means_and_group_scores_of_a_file(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("architecture,checkpoint,sugarcrepe,colorswap,valse\nA,t,83.8,12.0,\n")
    group = results("colorswap", {"": 12.2}).assign(benchmark="colorswap/colorswap", measure="group")
    own = pd.concat([results("sugarcrepe", CHECKPOINT, ITEMS), group], ignore_index=True)
    rows = check_reproduction(own, "A", "t", "none", published=[str(path)]).set_index("benchmark")
    assert rows["passed"].to_dict() == {"sugarcrepe": True, "colorswap": True}
    assert rows.loc["sugarcrepe", "metric"] == METRIC
    fewer = own.assign(items=own["items"].where(~own["benchmark"].str.endswith("swap_obj"), 100))
    fewer.loc[fewer["benchmark"].str.endswith("swap_obj"), "value"] = 0.2
    counts = {"sugarcrepe_swap_obj items": 245, "sugarcrepe_add_att items": 692}
    missed = check_reproduction(fewer, "A", "t", "none", published=[str(path)], published_counts=counts)
    row = missed.set_index("benchmark").loc["sugarcrepe"]
    assert not row["passed"] and row["cause"] == "another number of items: 100 instead of 245"
