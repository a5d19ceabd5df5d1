"""`vialign benchmarks` says of every benchmark what it is, and of those that are here how much there is."""

import json

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from unit.data.benchmark_folders import FOLDERS, entities
from vialign.cli.app import app
from vialign.data.listing import blind_by_design, list_benchmarks
from vialign.files.artifacts import write_table
from vialign.names import BENCHMARKS, PAIRS
from vialign.tables.evaluation import BLIND


def run(*arguments):
    return CliRunner().invoke(app, ["benchmarks", *map(str, arguments)])


def test_every_benchmark_says_what_it_measures_and_under_what_licence():
    shown = run()
    assert shown.exit_code == 0
    for name in BENCHMARKS:
        assert f"\n{name}: " in f"\n{shown.output}"
    for listed in list_benchmarks({}):
        assert listed.note.measures and listed.note.licence and listed.note.obtain
        assert listed.note.chance or listed.name == "vqa"
        # VSR's published file that is not split has neither of the names that its counts are under.
        named = {name.removesuffix(" items") for name in listed.note.expected} | {"vsr_all"}
        assert set(listed.note.blind) <= named and all(0 < share < 1 for share in listed.note.blind.values())
        assert all(not 0 <= value <= 0 for value in listed.note.chance.values())
    assert {listed.name for listed in list_benchmarks({}) if "wins nothing" in blind_by_design(listed.note)} == set(
        PAIRS
    )


def test_what_is_here_is_counted_and_what_is_not_is_said(tmp_path):
    for folder in ("cola", "whatsup"):
        FOLDERS[folder][1](tmp_path / folder)
    entities("test.txt")(tmp_path / "flickr30k_entities")
    (tmp_path / "vsr").mkdir()
    shown = run("--data", tmp_path, "--json")
    found = {row["name"]: row for row in json.loads(shown.output)}
    assert list(found) == list(BENCHMARKS)
    assert found["cola"]["here"] == {"cola items": 5} and found["whatsup"]["here"] == {"whatsup_a items": 5}
    assert found["vsr"]["here"] == {} and found["negbench"]["here"] == {}
    assert found["flickr30k_entities"]["here"] == {"images": 6}
    assert found["flickr30k_entities"]["chance"] == {"pointing": None}
    assert found["cola"]["chance"]["group"] == pytest.approx(1 / 6)
    text = run("--data", tmp_path).output
    assert f"  here      5 cola items in {tmp_path / 'cola'}" in text
    assert f"nothing in {tmp_path / 'vsr'}" in text
    assert "  blind     vl_checklist_color 36.3 %, vl_checklist_spatial 87.4 %; learned from words of" in text
    assert "  blind     no text is chosen: a phrase points into its own image" in text


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    shown = run("--data", tmp_path / "nowhere")
    assert shown.exit_code == 1 and shown.stderr.count("\n") == 1 and "no such folder" in shown.stderr


def test_a_run_says_where_its_benchmarks_lie_and_what_text_alone_solves(tmp_path):
    FOLDERS["cola"][1](tmp_path / "elsewhere")
    config = {
        "results": str(tmp_path / "results"),
        "data": {"benchmarks": {"cola": {"folder": str(tmp_path / "elsewhere")}}},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    # What the run's own data set has in the form of a benchmark says nothing of the benchmark.
    rows = [("sugarcrepe_pp/sugarcrepe_pp_swap_obj", 0.4), ("test/winoground", 0.25), ("test/negatives", 0.7)]
    frame = pd.DataFrame(rows, columns=["benchmark", "accuracy"])
    write_table(
        frame.assign(low=0.3, high=0.9, chance=0.2, items=10, solved=False),
        BLIND,
        tmp_path / "results/evaluate/blind.parquet",
        {},
    )
    found = {row["name"]: row for row in json.loads(run(tmp_path / "c.yaml", "--json").output)}
    assert found["cola"]["here"] == {"cola items": 5}
    assert {name: row["blind"] for name, row in found.items() if row["blind"]} == {
        "sugarcrepe_pp": {"sugarcrepe_pp/sugarcrepe_pp_swap_obj": 0.4}
    }
