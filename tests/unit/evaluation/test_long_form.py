"""vialign's own outcomes, and other files with a row an item and measure: no row pools measures or benchmarks."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

from vialign.cli.app import app
from vialign.errors import UserError
from vialign.evaluation.compare import comparison_table
from vialign.evaluation.conventions import compared_outcomes
from vialign.evaluation.paired_files import Columns, read_paired
from vialign.evaluation.paired_items import changed_items, compare_paired
from vialign.files.artifacts import write_table
from vialign.tables.evaluation import OUTCOMES

PAIRS, CHOICES = "test/winoground", "test/aro_relation"
MEASURES = ("text", "image", "group", "match")


def own_outcomes(method, seed, draw, items=30):
    """OUTCOMES of a benchmark of pairs with four measures and of one with an accuracy, whose items are called alike."""
    solved = np.random.default_rng(draw).random((len(MEASURES) + 1, items)) < 0.3 + 0.2 * draw
    frames = [
        pd.DataFrame(
            {
                **{"method": method, "seed": seed, "benchmark": benchmark},
                **{"item_id": [str(number) for number in range(items)], "measure": measure},
                **{"value": values.astype(float), "tag": ["odd" if number % 2 else "even" for number in range(items)]},
                **{"tie": False, "chosen": None, "image_id": [f"{number // 2}.jpg" for number in range(items)]},
            }
        )
        for benchmark, measure, values in zip(
            [PAIRS] * len(MEASURES) + [CHOICES], [*MEASURES, "accuracy"], solved, strict=True
        )
    ]
    return pd.concat(frames, ignore_index=True)


def written(table, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_table(table, OUTCOMES, path, {})
    else:
        table.to_csv(path, index=False)
    return path


@pytest.fixture
def tables():
    return [own_outcomes("frozen", 0, 1), own_outcomes("lora", 3, 2).sample(frac=1, random_state=0)]


@pytest.fixture
def files(tables, tmp_path):
    return [
        written(table, tmp_path / f"{name}.parquet") for name, table in zip(("frozen", "lora"), tables, strict=True)
    ]


def test_each_measure_of_each_benchmark_is_a_row_as_in_a_run(files, tables):
    paired = read_paired(files, Columns())
    assert len(paired.items) == 60 and list(paired.items) == ["benchmark", "item_id"]
    means, found = compare_paired(paired)
    expected = {(PAIRS, name) for name in MEASURES} | {(CHOICES, "accuracy")}
    assert set(zip(found["group"], found["measure"], strict=True)) == expected and len(found) == 5
    assert set(means["items"]) == set(found["items"]) == {30}
    both = pd.concat([tables[0].assign(method="a"), tables[1].assign(method="b", seed=0)])
    in_a_run = comparison_table(compared_outcomes(both), [("b", "a")]).set_index(["benchmark", "measure"])
    rows = found.set_index(["group", "measure"])
    for place, row in in_a_run.iterrows():
        told = ["difference", "low", "high", "p_value", "p_holm", "detectable", "items"]
        assert rows.loc[place, told].tolist() == pytest.approx(row[told].tolist())
        own = [
            table.set_index(["benchmark", "measure", "item_id"])["value"].sort_index().loc[place] for table in tables
        ]
        assert (rows.loc[place, "gained"], rows.loc[place, "lost"]) == (sum(own[1] > own[0]), sum(own[1] < own[0]))
    changed = changed_items(paired)
    assert len(changed) == found["gained"].sum() + found["lost"].sum()
    assert set(changed.loc[changed["benchmark"] == CHOICES, "measure"]) <= {"accuracy"}


def test_a_measure_that_is_told_again_is_shown_and_not_tested(files):
    paired = read_paired(files, Columns())
    assert [note for note in paired.notes if note.startswith("`match` reads the scores of other measures once more")]
    found = compare_paired(paired)[1].set_index("measure")
    tested = found.drop("match")
    assert found.loc["match", ["p_value", "p_holm", "p_mcnemar", "p_mcnemar_holm", "detectable"]].isna().all()
    assert found.loc["match", ["difference", "low", "high"]].notna().all()
    np.testing.assert_allclose(tested["p_mcnemar_holm"], multipletests(tested["p_mcnemar"], method="holm")[1])
    shown = CliRunner().invoke(app, ["compare", *map(str, files)]).output
    assert "Holm's correction is over 4 rows" in shown and re.search(r"test/winoground +match .* –( +–){4}\n", shown)
    told = json.loads(CliRunner().invoke(app, ["compare", *map(str, files), "--json"]).output)
    assert [pair["p_holm"] for pair in told["pairs"] if pair["measure"] == "match"] == [None]


def test_a_measure_called_match_that_stands_alone_is_tested(tables, tmp_path):
    """A file of exact matches, say: nothing of it tells another measure again."""
    paths = [
        written(table[table["measure"] == "match"], tmp_path / f"{name}.csv")
        for name, table in zip("ab", tables, strict=True)
    ]
    paired = read_paired(paths, Columns())
    assert not paired.notes and compare_paired(paired)[1]["p_holm"].notna().all()


def test_groups_lie_within_benchmarks_and_measures(files):
    for by in (("tag",), ("benchmark", "tag"), ("measure", "tag")):
        found = compare_paired(read_paired(files, Columns(by=by)))[1]
        groups = [PAIRS, CHOICES, *(f"{place}, {tag}" for place in (PAIRS, CHOICES) for tag in ("even", "odd"))]
        assert list(dict.fromkeys(found["group"])) == groups
        assert set(found.loc[found["group"].str.contains(","), "items"]) == {15}
    assert len(compare_paired(read_paired(files, Columns(by=("measure",))))[1]) == 5


def test_without_a_benchmark_each_measure_is_a_row_of_all_items(tables, tmp_path):
    paths = []
    for name, table in zip("ab", tables, strict=True):
        part = table.loc[table["benchmark"] == PAIRS, ["item_id", "measure", "value"]]
        paths.append(written(part, tmp_path / f"{name}.csv"))
    for item in ((), ("item_id",), ("item_id", "measure")):
        found = compare_paired(read_paired(paths, Columns(item=item)))[1]
        assert found["group"].tolist() == ["all"] * 4 and set(found["items"]) == {30}


def test_a_benchmark_that_two_programs_call_differently_is_paired_by_its_items(tables, tmp_path):
    named = [
        table[table["benchmark"] == PAIRS].assign(benchmark=name)
        for name, table in zip(("test/winoground", "winoground/winoground"), tables, strict=True)
    ]
    paths = [written(table, tmp_path / f"{name}.csv") for name, table in zip("ab", named, strict=True)]
    with pytest.raises(UserError, match="or name what they have in common with --item"):
        read_paired(paths, Columns())
    found = compare_paired(read_paired(paths, Columns(item=("item_id",))))[1]
    assert set(found["group"]) == {"all"} and len(found) == 4


@pytest.mark.parametrize("column", ["seed", "method"])
def test_several_seeds_or_methods_in_a_file_are_refused(tables, tmp_path, column):
    """However few the items: paired in their order, each would count several times."""
    few = tables[0][tables[0]["item_id"].isin(["0", "1"])]
    paths = [
        written(pd.concat([few, few.assign(**{column: value})]), tmp_path / f"{name}.csv")
        for name, value in (("a", 7), ("b", 8))
    ]
    said = rf"a.csv, row 1: field `{column}`: the file has 2 {column}s \({few[column].iloc[0]}, 7\) of one item "
    said += rf"\({PAIRS}, 0, text\), and one outcome of an item is compared; give each {column} a file of its own"
    with pytest.raises(UserError, match=said):
        read_paired(paths, Columns())


def test_seeds_that_belong_to_different_items_are_no_several_outcomes(tmp_path):
    table = pd.DataFrame({"id": range(20), "seed": range(20), "correct": [0, 1] * 10})
    paths = [written(table, tmp_path / f"{name}.csv") for name in "ab"]
    assert len(read_paired(paths, Columns()).items) == 20


def test_measures_that_the_other_file_does_not_have_are_refused(tables, tmp_path):
    first = written(tables[0][tables[0]["item_id"] == "0"], tmp_path / "a.csv")
    wide = pd.DataFrame({"benchmark": [PAIRS, CHOICES], "item_id": "0", "value": 1})
    second = written(wide, tmp_path / "b.csv")
    with pytest.raises(
        UserError, match=r"a.csv, row 1: field `measure`: the file has 5 measures .*, or the other files"
    ):
        read_paired([first, second], Columns())
    lacking = written(tables[1][tables[1]["measure"] != "image"], tmp_path / "c.csv")
    with pytest.raises(UserError, match=r"c.csv: lacks 30 of the 150 items that .*d.csv has, such as .*, 0, image"):
        read_paired([written(tables[0], tmp_path / "d.csv"), lacking], Columns())


def test_what_is_no_column_of_measures_is_refused(tables, tmp_path):
    second = written(tables[1], tmp_path / "b.csv")
    empty = tables[0].assign(measure=["", *tables[0]["measure"][1:]])
    with pytest.raises(UserError, match=r"a.csv, row 1: field `measure` is empty; write what the row measures"):
        read_paired([written(empty, tmp_path / "a.csv"), second], Columns())
    many = pd.concat([tables[0]] * 2, ignore_index=True)
    many["measure"] = [f"{number}" for number in range(len(many))]
    with pytest.raises(UserError, match=r"c.csv: 300 measures, more than the 200 that are compared one by one"):
        read_paired([written(many, tmp_path / "c.csv"), second], Columns())
    tied = tables[0].assign(tie=tables[0]["measure"] == "text")
    paths = [written(tied, tmp_path / f"tied/{name}.csv") for name in "ab"]
    with pytest.raises(UserError, match=r"`tie` of test/winoground, 0 differs from measure to measure; group --by"):
        read_paired(paths, Columns(by=("tie",)))
