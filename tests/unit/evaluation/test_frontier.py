"""Published checkpoints from files: read whole or refused, the frontier by brute force, a run's values among them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from unit.report.fake_results import fake_config
from unit.report.page import read_page
from vialign.cli.app import app
from vialign.errors import UserError
from vialign.evaluation.frontier import AVERAGES, check_frontier, on_frontier, own_points, read_frontier, tuning_costs
from vialign.evaluation.published_values import LONG, published_values, read_values, shipped_values
from vialign.evaluation.reproduction import check_reproduction, has_known_values
from vialign.files.artifacts import write_table, write_text
from vialign.report.evidence import Evidence
from vialign.report.sections.frontier import beside_published
from vialign.report.sections.provenance import config_text
from vialign.tables.evaluation import RESULTS

NAMES = "architecture,checkpoint,family"
HEADER = f"{NAMES},sugarcrepe,winoground,coco_i2t,coco_t2i,flickr_i2t,flickr_t2i,comp_avg,i2t_avg,t2i_avg"
ROWS = (
    "ViT-B-32,openai,OpenCLIP,73.0,8.75,50.1,30.4,78.8,58.8,41.0,64.4,44.6",
    "ViT-B-32,laion2b,OpenCLIP,77.5,7.5,56.3,39.4,84.2,66.8,42.3,70.2,53.1",
    "NegCLIP,coco-ft,StructuredCLIP,83.7,8.0,59.3,45.2,85.7,71.6,47.9,72.5,58.4",
    "DAC,cc3m-ft,StructuredCLIP,83.8,8.5,33.1,33.9,59.7,61.7,49.8,46.4,47.8",
    "<b>evil</b>,x,Other,60.0,,10.0,10.0,10.0,10.0,30.0,10.0,10.0",
)
BASE = "ViT-B-32, openai"


def write(path, *rows, header=HEADER):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "published.csv", *ROWS)


def test_a_checkpoint_is_a_row_and_an_empty_cell_is_missing(file):
    frontier = read_frontier(file)
    assert frontier.table["model"].tolist()[:3] == [BASE, "ViT-B-32, laion2b", "NegCLIP, coco-ft"]
    assert frontier.table["tuned"].tolist() == [False, False, True, True, False]
    assert frontier.benchmarks == HEADER.split(",")[3:9]
    assert np.isnan(frontier.table["winoground"][4]) and frontier.table["winoground"][0] == 8.75


def test_the_file_is_read_as_vl_compo_publishes_it(file, tmp_path):
    """With row numbers in a column without a name, and `arch` and `pretrained` for what it is."""
    lines = file.read_text().splitlines()
    header = "," + lines[0].replace("architecture,checkpoint", "arch,pretrained")
    rows = [f"{145 - number},{line}" for number, line in enumerate(lines[1:])]
    own = write(tmp_path / "own/published.csv", *rows, header=header)
    pd.testing.assert_frame_equal(read_frontier(own).table, read_frontier(file).table)
    pd.testing.assert_frame_equal(read_values(own), read_values(file))


@pytest.mark.parametrize("empty", ["winoground", "sugarcrepe", "coco_i2t", "comp_avg", "i2t_avg"])
def test_a_column_without_a_number_is_drawn_around(tmp_path, empty):
    place = HEADER.split(",").index(empty)
    rows = [",".join("" if n == place else cell for n, cell in enumerate(row.split(","))) for row in ROWS]
    out = tmp_path / "page.html"
    words = ["frontier", "--published", str(write(tmp_path / "p.csv", *rows)), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    if empty in AVERAGES:
        assert done.exit_code == 1 and f"column `{empty}` holds no number, and the frontier is drawn" in done.stderr
        return
    assert done.exit_code == 0, done.output + done.stderr
    assert "nan" not in read_page(out.read_text()).text().lower().split()


def test_what_tuning_costs_is_the_difference_from_the_base(file):
    costs = tuning_costs(read_frontier(file), BASE).set_index("model")
    assert costs.index.tolist() == ["NegCLIP, coco-ft", "DAC, cc3m-ft"]
    assert costs["i2t_avg"].tolist() == pytest.approx([8.1, -18.0])
    assert costs["comp_avg"].tolist() == pytest.approx([6.9, 8.8])
    with pytest.raises(
        UserError, match=r"has no checkpoint 'ViT, openai' \(there are ViT-B-32, openai\); name one of its"
    ):
        tuning_costs(read_frontier(file), "ViT, openai")


def test_a_run_is_told_before_it_begins_what_is_wrong_with_its_file(file, tmp_path):
    named = {"frontier": str(file)}
    check_frontier(fake_config(report={}).report)
    check_frontier(fake_config(report=named).report)
    check_frontier(fake_config(report={**named, "frontier_base": "NegCLIP, coco-ft"}).report)
    with pytest.raises(UserError, match=r"has no checkpoint 'ViT, x'.* or in a run with `report.frontier_base`"):
        check_frontier(fake_config(report={**named, "frontier_base": "ViT, x"}).report)
    with pytest.raises(UserError, match="nowhere.csv"):
        check_frontier(fake_config(report={"frontier": str(tmp_path / "nowhere.csv")}).report)


def test_blanks_around_names_do_not_count(file, tmp_path):
    own = write(tmp_path / "own/published.csv", *(row.replace(",", " , ", 1) for row in ROWS))
    pd.testing.assert_frame_equal(read_frontier(own).table, read_frontier(file).table)


def test_the_same_names_of_two_families_are_told_apart(tmp_path):
    rows = ["A,cc12m,One" + ",1" * 9, "A,cc12m,Two" + ",2" * 9]
    frontier = read_frontier(write(tmp_path / "p.csv", *rows, rows[0]))
    assert frontier.table["model"].tolist() == ["A, cc12m (One)", "A, cc12m (Two)"]
    with pytest.raises(UserError, match=r"A, cc12m \(One\) comes twice with different values; keep one row"):
        read_frontier(write(tmp_path / "q.csv", rows[0], "A,cc12m,One" + ",2" * 9))


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (HEADER.replace("comp_avg", "mean"), ROWS[0], "no column `comp_avg`, only architecture, checkpoint"),
        (
            HEADER,
            ROWS[0].replace("8.75", "much"),
            "row 1: field `winoground`: 'much' is not a percentage from 0 to 100",
        ),
        (HEADER, ROWS[0].replace("8.75", "875"), "row 1: field `winoground`: '875' is not a percentage"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, header, row, said):
    with pytest.raises(UserError, match=said):
        read_frontier(write(tmp_path / "p.csv", row, header=header))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_edge_is_what_no_other_beats(points):
    found = on_frontier(pd.DataFrame(points, columns=["x", "y"]), "x", "y")
    for place, (x, y) in enumerate(points):
        beaten = any(a >= x and b >= y and (a > x or b > y) for a, b in points)
        assert found[place] == (not beaten)


SUGARCREPE = {"replace_obj": 30, "replace_att": 20, "replace_rel": 50, "swap_obj": 10, "swap_att": 30}
SUGARCREPE |= {"add_obj": 40, "add_att": 40}
"""Items of each part."""


def results(dataset_rows):
    frame = pd.DataFrame(dataset_rows, columns=["method", "benchmark", "measure", "value"])
    items = frame["benchmark"].str.removeprefix("sugarcrepe/sugarcrepe_").map(SUGARCREPE).fillna(10).astype(int)
    return RESULTS.check(frame.assign(convention="micro", low=0.0, high=1.0, items=items, seeds=1, ties=0))


MEASURED = [
    ("lora", "test/image_to_text", "r1", 0.8),
    ("lora", "test/text_to_image", "r1", 0.6),
    ("lora", "winoground/winoground", "group", 0.09),
    *(("lora", f"sugarcrepe/sugarcrepe_{kind}", "accuracy", 0.1 * (n + 1)) for n, kind in enumerate(SUGARCREPE)),
    ("frozen", "test/image_to_text", "r1", 0.7),
]


def test_a_run_is_compared_where_it_measured_the_same_benchmarks():
    own = own_points(results(MEASURED), "flickr30k", "test").set_index("model")
    # By items within replaced (3 + 4 + 15 of 100), swapped (4 + 15 of 40) and added (24 + 28 of 80); kinds alike.
    mean = 100 * (22 / 100 + 19 / 40 + 52 / 80) / 3
    found = own.loc["lora", ["flickr_i2t", "flickr_t2i", "winoground", "sugarcrepe"]].tolist()
    assert found == pytest.approx([80, 60, 9, mean])
    assert own.loc["lora", ["coco_i2t", "coco_t2i"]].isna().all() and np.isnan(own.loc["frozen", "sugarcrepe"])
    assert own_points(results(MEASURED[:-2]), "flickr30k", "test")["sugarcrepe"].isna().all(), "one part is missing"
    assert own_points(results(MEASURED), "scenes", "test").empty
    assert own_points(results(MEASURED), "flickr8k", "test").empty


def test_the_page_draws_every_checkpoint_and_the_runs_methods_and_escapes_their_names(file, tmp_path):
    run = tmp_path / "run"
    write_table(results(MEASURED), RESULTS, run / "compare/results.parquet", {})
    config = fake_config(data={"dataset": "flickr30k", "folder": str(tmp_path)}, evaluation={"splits": ["test"]})
    write_text(config_text(config), run / "report/config.yaml")
    out = tmp_path / "page.html"
    words = ["frontier", "--published", str(file), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and done.output == f"{out}: 5 checkpoints drawn\n"
    text = out.read_text()
    assert "<b>evil" not in text and "&lt;b&gt;evil" in text and "No method of a run is drawn" in text
    assert "in the median, with a loss in" in text and "github.com/ytaek-oh/vl_compo" in text
    done = CliRunner().invoke(app, [*words, "--results", str(run)])
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert "The methods of the run are drawn among them." in text and "this%20run,70,44.8" in text.replace("lora,", "")
    assert read_page(text) is not None
    unreported = CliRunner().invoke(app, [*words, "--results", str(tmp_path)])
    assert unreported.exit_code == 1 and "give the folder of a run that has a report" in unreported.stderr
    wrong = CliRunner().invoke(app, [*words, "--base", "nothing"])
    assert wrong.exit_code == 1 and "has no checkpoint 'nothing'" in wrong.stderr


def test_the_report_has_the_same_drawings_where_the_configuration_names_a_file(file, tmp_path):
    config = fake_config(data={"dataset": "flickr30k", "folder": str(tmp_path)}, report={"frontier": str(file)})
    evidence = Evidence(tmp_path, {"results": results(MEASURED)}, (), None, {})
    section = beside_published(evidence, config)
    text = "".join(section.blocks)
    assert section.title == "Beside published checkpoints" and text.count("<svg") == 5
    assert "The methods of the run are drawn among them." in text
    without = "".join(beside_published(Evidence(tmp_path, {}, (), None, {}), config).blocks)
    assert "No method of a run is drawn" in without


# ------------------------------------------------------------------------------------------- values to reproduce


def test_a_wide_file_gives_the_values_of_every_checkpoint_and_openais_have_their_activation(file):
    values = read_values(file)
    assert list(values) == list(LONG) and len(values) == 6 * 5 - 1, "one cell is empty"
    named = values.set_index(["architecture", "checkpoint", "benchmark", "metric"])["percent"]
    assert named["ViT-B-32-quickgelu", "openai", "coco_5k", "text_to_image_r1"] == 30.4
    assert named["ViT-B-32", "laion2b", "winoground", "group"] == 7.5
    assert named["ViT-B-32", "laion2b", "sugarcrepe", "mean_accuracy"] == 77.5
    assert set(values["tolerance"]) == {0.3} and set(values["source"]) == {"published.csv"}


def test_a_long_file_gives_its_rows(tmp_path):
    head = "architecture,checkpoint,benchmark,metric,percent"
    path = write(tmp_path / "p.csv", "A,t,flickr30k,image_to_text_r1,50", header=head)
    assert read_values(path).iloc[0].tolist() == ["A", "t", "flickr30k", "image_to_text_r1", 50.0, 0.3, "p.csv"]
    path = write(tmp_path / "p.csv", "A,t,flickr30k,image_to_text_r1,50,1,b", header=f"{head},tolerance,source")
    assert read_values(path).iloc[0].tolist()[-2:] == [1.0, "b"]
    with pytest.raises(
        UserError, match="no column `benchmark`, only architecture, checkpoint; published values are rows"
    ):
        read_values(write(tmp_path / "p.csv", "A,t", header="architecture,checkpoint"))


def test_what_the_package_has_stands_over_a_file(file):
    both = published_values((str(file),))
    assert len(both) > len(shipped_values())
    same = both.assign(architecture=both["architecture"].str.removesuffix("-quickgelu"))
    assert not same.duplicated(["architecture", "checkpoint", "benchmark", "metric"]).any()
    own = both[
        (both["checkpoint"] == "openai") & (both["metric"] == "image_to_text_r1") & (both["benchmark"] == "coco_5k")
    ]
    assert own["percent"].tolist()[0] == 50.12, "not the file's 50.1"


def test_a_backbone_is_held_against_the_values_of_a_file(file):
    assert not has_known_values("ViT-B-32", "laion2b", ()) and has_known_values("ViT-B-32", "laion2b", (), [str(file)])
    measured = results([("frozen", "test/text_to_image", "r1", 0.668), ("frozen", "test/image_to_text", "r1", 0.8)])
    rows = check_reproduction(measured, "ViT-B-32", "laion2b", "flickr30k", published=[str(file)]).set_index("metric")
    assert rows["passed"].to_dict() == {"image_to_text_r1": False, "text_to_image_r1": True}
    assert set(rows["source"]) == {"published.csv"}
