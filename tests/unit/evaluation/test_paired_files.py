"""Results from files: paired like a loop would, tested like statsmodels would, and refused with a reason."""

import csv
import json
import re

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from typer.testing import CliRunner

from vialign.cli.app import app
from vialign.errors import UserError
from vialign.evaluation.item_files import read_item_file
from vialign.evaluation.paired_files import Columns, model_names, read_paired
from vialign.evaluation.paired_items import changed_items, compare_paired, mcnemar

ITEMS = [(f"{number // 3}.jpg", f"a cat, and dog {number}", "add" if number % 3 else "swap") for number in range(60)]


def outcomes(seed, share):
    return (np.random.default_rng(seed).random(len(ITEMS)) < share).astype(int)


def write(path, correct, order=None, items=ITEMS):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "caption", "type", "correct"])
        for row in range(len(items)) if order is None else order:
            writer.writerow([*items[row], correct[row]])
    return path


@pytest.fixture
def files(tmp_path):
    shuffled = np.random.default_rng(9).permutation(len(ITEMS))
    return [write(tmp_path / "a.csv", outcomes(0, 0.4)), write(tmp_path / "b.csv", outcomes(1, 0.8), shuffled)]


def test_items_are_paired_in_any_order_and_counted_as_a_loop_counts_them(files):
    paired = read_paired(files, Columns(by=("type",)))
    means, found = compare_paired(paired)
    before, after = outcomes(0, 0.4), outcomes(1, 0.8)
    assert means.set_index(["group", "model"])["value"]["all", "b"] == pytest.approx(after.mean())
    assert found["group"].tolist() == ["all", "swap", "add"] and (found["model"] == "b").all()
    for group, row in found.set_index("group").iterrows():
        own = [place for place, item in enumerate(ITEMS) if group in ("all", item[2])]
        gained = sum(after[place] > before[place] for place in own)
        lost = sum(after[place] < before[place] for place in own)
        assert (row["gained"], row["lost"], row["items"]) == (gained, lost, len(own))
        assert row["difference"] == pytest.approx((gained - lost) / len(own))
        table = [[0, gained], [lost, 0]]
        assert row["p_mcnemar"] == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
        assert row["low"] < row["difference"] < row["high"] and row["detectable"] > 0
    expected = multipletests(found["p_mcnemar"], method="holm")[1]
    np.testing.assert_allclose(found["p_mcnemar_holm"], expected)
    np.testing.assert_allclose(found["p_holm"], multipletests(found["p_value"], method="holm")[1])
    changed = changed_items(paired)
    assert changed["change"].value_counts().to_dict() == found.loc[0, ["gained", "lost"]].to_dict()
    told = changed.set_index("caption")
    for (_, caption, _), one, other in zip(ITEMS, before, after, strict=True):
        assert (caption in told.index) == (one != other)
        assert one == other or (told.loc[caption, "before"], told.loc[caption, "after"]) == (one, other)


def test_every_form_says_the_same(files, tmp_path):
    tables = [pd.read_csv(file) for file in files]
    for ending in (".tsv", ".jsonl", ".parquet"):
        made = [tmp_path / ending[1:] / f"{name}{ending}" for name in "ab"]
        made[0].parent.mkdir()
        for table, path in zip(tables, made, strict=True):
            if ending == ".tsv":
                table.to_csv(path, sep="\t", index=False)
            elif ending == ".jsonl":
                table.assign(correct=table["correct"].astype(bool)).to_json(path, orient="records", lines=True)
            else:
                table.assign(correct=table["correct"].astype(float)).to_parquet(path)
        told = [compare_paired(read_paired(paths, Columns())) for paths in (made, files)]
        for one, other in zip(*told, strict=True):
            pd.testing.assert_frame_equal(one, other)


def test_three_models_give_three_pairs_and_one_correction_over_all(files, tmp_path):
    third = write(tmp_path / "c.csv", outcomes(2, 0.5))
    found = compare_paired(read_paired([*files, third], Columns()))[1]
    assert list(zip(found["model"], found["reference"], strict=True)) == [("b", "a"), ("c", "a"), ("c", "b")]
    np.testing.assert_allclose(found["p_mcnemar_holm"], multipletests(found["p_mcnemar"], method="holm")[1])


def test_shares_of_an_item_are_compared_without_mcnemar(tmp_path):
    paths = []
    for name, shift in (("a", 0.0), ("b", 0.25)):
        values = np.clip(np.random.default_rng(3).random(40) * 0.7 + shift, 0, 1)
        paths.append(tmp_path / f"{name}.parquet")
        pd.DataFrame({"id": range(40), "score": values}).to_parquet(paths[-1])
    found = compare_paired(read_paired(paths, Columns()))[1]
    assert found["difference"][0] == pytest.approx(0.25) and found["gained"][0] == 40
    assert np.isnan(found["p_mcnemar"][0]) and np.isnan(found["p_mcnemar_holm"][0]) and found["p_value"][0] < 1e-9


@pytest.mark.parametrize("own", [("match",), ("match", "correct"), ("correct", "match")])
def test_a_column_may_be_called_as_a_measure_of_a_benchmark_is(files, tmp_path, own):
    """`match` of Winoground is no test of its own; a column of that name is what its owner says it is."""
    paths = []
    for name, file in zip("ab", files, strict=True):
        table = pd.read_csv(file)
        paths.append(tmp_path / f"named/{name}.csv")
        paths[0].parent.mkdir(exist_ok=True)
        table.assign(match=1 - table["correct"]).to_csv(paths[-1], index=False)
    found = compare_paired(read_paired(paths, Columns(item=("filename", "caption"), correct=own)))[1]
    expected = compare_paired(read_paired(files, Columns(correct=("correct",))))[1].iloc[0]
    assert sorted(found["measure"]) == sorted(own)
    rows = found.set_index("measure")
    for name, sign in zip(own, (-1 if name == "match" else 1 for name in own), strict=True):
        assert rows.loc[name, "difference"] == pytest.approx(sign * expected["difference"])
        assert rows.loc[name, "p_mcnemar"] == expected["p_mcnemar"]
    words = ["compare", *map(str, paths), *(word for name in own for word in ("--correct", name))]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0 and re.search(r"all +match +[+-]\d+\.\d\d", shown.output), shown.output + shown.stderr


def test_items_of_one_image_widen_the_interval(tmp_path):
    """Twelve items of each image that all change together are five independent ones, not sixty."""
    together = np.repeat([1, 1, 1, 0, 1], 12)
    renamed = [(f"{number // 12}.jpg", *item[1:]) for number, item in enumerate(ITEMS)]
    same = [write(tmp_path / "same" / f"{n}.csv", v, items=renamed) for n, v in (("a", 0 * together), ("b", together))]
    alone = [(f"{number}.jpg", *item[1:]) for number, item in enumerate(ITEMS)]
    apart = [write(tmp_path / "apart" / f"{n}.csv", v, items=alone) for n, v in (("a", 0 * together), ("b", together))]
    wide, narrow = (
        (row["high"] - row["low"], row["p_mcnemar"])
        for row in (compare_paired(read_paired(paths, Columns()))[1].iloc[0] for paths in (same, apart))
    )
    assert wide[0] > 3 * narrow[0] and wide[1] == narrow[1]


def test_mcnemar_without_changes_is_one():
    assert mcnemar(0, 0) == 1.0 and mcnemar(5, 0) == pytest.approx(2 * 0.5**5)


def test_items_that_come_twice_are_told_and_paired_in_order(tmp_path):
    items = [("x.jpg", "a cat", "add"), ("x.jpg", "a cat", "swap"), *ITEMS]
    values = [np.r_[1, 0, outcomes(0, 0.4)], np.r_[1, 1, outcomes(1, 0.8)]]
    paths = [write(tmp_path / f"{n}.csv", v, items=items) for n, v in zip("ab", values, strict=True)]
    paired = read_paired(paths, Columns(item=("filename", "caption")))
    assert paired.notes == (
        "1 item comes twice by filename, caption (told apart by type, which --item can name too); their rows are "
        "paired in the order of each file",
    )
    assert paired.values["correct"][:2].tolist() == [[1, 1], [0, 1]]
    assert not read_paired(paths, Columns()).notes
    with pytest.raises(
        UserError, match=r"a.csv: 2 items come twice by type \(swap, row 3\); name more columns with --i"
    ):
        read_paired(paths, Columns(item=("type",)))


def test_what_differs_is_refused_with_what_differs(files, tmp_path):
    fewer = write(tmp_path / "c.csv", outcomes(1, 0.8)[2:], items=ITEMS[2:])
    with pytest.raises(
        UserError, match=r"c.csv: lacks 2 of the 60 items that .*a.csv has, such as 0.jpg, a cat, and dog 0"
    ):
        read_paired([files[0], fewer], Columns())
    with pytest.raises(UserError, match=r"c.csv: lacks 2 of the 60 items that .*a.csv has"):
        read_paired([fewer, files[0]], Columns())
    again = write(tmp_path / "e.csv", [*outcomes(1, 0.8), 1], items=[*ITEMS, ITEMS[0]])
    with pytest.raises(UserError, match=r"e.csv: has 0.jpg, .* 2 times, and .*a.csv 1 times"):
        read_paired([files[0], again], Columns())
    other = write(tmp_path / "d.csv", outcomes(1, 0.8), items=[(*item[:2], "new") for item in ITEMS])
    with pytest.raises(UserError, match=r"d.csv: `type` of .* is not that of .*a.csv; group --by what is the same"):
        read_paired([files[0], other], Columns(item=("caption",), by=("type",)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("filename,caption,type,correct\na,b,c,2\n", r"row 1: field `correct`: '2' is not 0, 1, true or false"),
        ("filename,caption,type,correct\na,b,c,\n", r"row 1: field `correct`: '' is not 0, 1"),
        ("filename,caption,type,correct\na,b,c\n", r"row 1 \(line 2\): has 3 fields, the header has 4"),
        ("filename,caption,type,correct\n", "holds no items"),
        ("filename,filename,correct\na,b,1\n", "column `filename` comes twice"),
        ("filename,caption,type\na,b,c\n", "no column says in every file whether an item was solved"),
        ("filename;caption;correct\na;b;1\n", r"z.csv: no column that names .* \(it is separated by semicolons\)"),
        ("x,correct\na,1\n", "z.csv: no column that names an item in every file"),
        ('filename,correct\n"a,1\n', "not CSV"),
        ("", "holds no items|is empty"),
    ],
)
def test_a_broken_file_is_one_line(files, tmp_path, content, said):
    path = tmp_path / "z.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        read_paired([path, files[0]], Columns())


def test_options_that_name_nothing_are_refused(files, tmp_path):
    with pytest.raises(UserError, match="a.csv: no column `right`, only filename, caption, type, correct"):
        read_paired(files, Columns(correct=("right",)))
    with pytest.raises(UserError, match="alone; name the files of two or more models"):
        read_paired(files[:1], Columns())
    with pytest.raises(UserError, match="a file is named twice"):
        read_paired([files[0], files[0]], Columns())
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"a.txt: results by item are read from .csv, .tsv, .jsonl, .ndjson, .parquet"):
        read_item_file(tmp_path / "a.txt")
    with pytest.raises(UserError, match="nowhere: no such file"):
        read_item_file(tmp_path / "nowhere")
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n[1]\n')
    with pytest.raises(UserError, match="a.jsonl, line 2: is not a JSON object"):
        read_item_file(tmp_path / "a.jsonl")


def test_models_are_called_by_as_much_of_their_paths_as_tells_them_apart(tmp_path):
    assert model_names([tmp_path / "a.csv", tmp_path / "b.csv"]) == ("a", "b")
    assert model_names([tmp_path / "x/out.csv", tmp_path / "y/out.csv"]) == ("x/out", "y/out")


def test_addresses_of_objects_name_no_item(tmp_path):
    paths = []
    for name in "ab":
        rows = {"image": [f"<PIL.Image at 0x{name}{n}>" for n in range(4)], "caption": list("wxyz"), "text_score": 1}
        paths.append(tmp_path / f"{name}.csv")
        pd.DataFrame(rows).to_csv(paths[-1], index=False)
    paired = read_paired(paths, Columns())
    assert list(paired.items) == ["caption"] and len(paired.notes) == 2
    assert paired.notes[0].startswith("column `image` holds addresses") and "independent" in paired.notes[1]


def test_the_command_prints_text_or_json_and_writes_what_changed(files, tmp_path):
    words = ["compare", *map(str, files), "--by", "type", "--out", str(tmp_path / "out.csv")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0 and "60 items of 20 images, named by filename, caption, type." in shown.output
    assert "b minus a:" in shown.output and re.search(r"all correct +\+\d+\.\d\d", shown.output)
    told = json.loads(CliRunner().invoke(app, ["compare", *map(str, files), "--json"]).output)
    assert told["items"] == 60 and told["item_columns"] == ["filename", "caption", "type"]
    (pair,) = told["pairs"]
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == pair["gained"] + pair["lost"] and {row["change"] for row in rows} == {"gained", "lost"}
    refused = CliRunner().invoke(app, ["compare", *map(str, files), "--out", str(files[0])])
    assert refused.exit_code == 1 and "is FILE" in refused.stderr


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".PARQUET"])
def test_what_changed_is_written_as_its_ending_says_and_can_be_read_again(files, tmp_path, ending):
    out = tmp_path / f"out{ending}"
    said = CliRunner().invoke(app, ["compare", *map(str, files), "--out", str(out)])
    assert said.exit_code == 0, said.stderr
    expected = changed_items(read_paired(files, Columns()))
    found = read_item_file(out)
    assert out.read_bytes().startswith(b"PAR1") == (ending.lower() == ".parquet")
    numbers = ["before", "after"]
    pd.testing.assert_frame_equal(found.astype(dict.fromkeys(numbers, float)), expected, check_dtype=False)


@pytest.mark.parametrize("name", ["out", "out.csv.gz", "out.xlsx", "out.json"])
def test_what_changed_is_written_under_no_other_ending(files, tmp_path, name):
    refused = CliRunner().invoke(app, ["compare", *map(str, files), "--out", str(tmp_path / name)])
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1 and not (tmp_path / name).exists()
    assert "what changed is written as .csv, .tsv, .jsonl, .ndjson, .parquet; give it one of these" in refused.stderr


@pytest.mark.parametrize("items", [1, 3])
def test_so_few_items_that_they_could_show_no_difference_have_a_dash(tmp_path, items):
    paths = [
        write(tmp_path / f"{n}.csv", np.full(items, v), items=[*ITEMS[::3][:items]]) for n, v in (("a", 0), ("b", 1))
    ]
    assert np.isnan(compare_paired(read_paired(paths, Columns()))[1]["detectable"][0])
    shown = CliRunner().invoke(app, ["compare", *map(str, paths)])
    assert re.search(r"all +correct +\+100.00 .* –\n", shown.output) and "nan" not in shown.output
    told = json.loads(CliRunner().invoke(app, ["compare", *map(str, paths), "--json"]).output)
    assert told["pairs"][0]["detectable"] is None


def numbered(path, ids, **more):
    pd.DataFrame({"id": ids, "correct": np.arange(len(ids)) % 2, **more}).to_csv(path, index=False)
    return path


def test_numbers_of_items_are_the_same_with_and_without_a_fraction(tmp_path):
    levels = np.arange(50) % 3
    first = numbered(tmp_path / "a.csv", np.arange(50.0), image_id=np.arange(50.0) // 2, level=levels.astype(float))
    second = numbered(tmp_path / "b.csv", np.arange(50), image_id=np.arange(50) // 2, level=levels)
    third = tmp_path / "c.parquet"
    pd.read_csv(first).to_parquet(third)
    assert first.read_text().splitlines()[1].startswith("0.0,")
    paired = read_paired([first, second, third], Columns(by=("level",)))
    assert paired.items["id"].tolist() == [str(number) for number in range(50)]
    assert set(paired.group) == {"0", "1", "2"} and len(set(paired.image)) == 25


@pytest.mark.parametrize(
    ("one", "other"), [(["007", "1"], ["7", "1"]), (["1.0", "x"], ["1", "x"]), (["1.50", "2"], ["1.5", "2"])]
)
def test_what_is_no_number_of_a_program_stays_as_it_is_written(tmp_path, one, other):
    with pytest.raises(UserError, match="b.csv: lacks 1 of the 2 items"):
        read_paired([numbered(tmp_path / "a.csv", one), numbered(tmp_path / "b.csv", other)], Columns())


def test_numbers_that_only_their_fraction_tells_apart_stay_apart(tmp_path):
    paths = [numbered(tmp_path / f"{name}.csv", ["1", "1.0", "2"]) for name in "ab"]
    assert not any("twice" in note for note in read_paired(paths, Columns()).notes)


def test_columns_are_found_in_capitals_too_and_as_they_are_written_first(files, tmp_path):
    expected = compare_paired(read_paired(files, Columns(by=("type",))))[1]
    upper = tmp_path / "upper/b.csv"
    upper.parent.mkdir()
    pd.read_csv(files[1]).rename(columns=str.upper).to_csv(upper, index=False)
    for by in ("type", "TYPE", "Type"):
        found = compare_paired(read_paired([files[0], upper], Columns(by=(by,))))[1]
        pd.testing.assert_frame_equal(found, expected)
    both = [upper.with_name("x.csv"), upper.with_name("y.csv")]
    for path in both:
        table = pd.read_csv(files[0])
        table.assign(CORRECT=1 - table["correct"], Own=1, OWN=1).to_csv(path, index=False)
    assert read_paired(both, Columns()).values["correct"][:, 0].tolist() == outcomes(0, 0.4).tolist()
    assert read_paired(both, Columns(correct=("CORRECT",))).values["CORRECT"].sum() == 2 * (60 - outcomes(0, 0.4).sum())
    with pytest.raises(UserError, match="x.csv: no column `own`, only .*, Own, OWN; name one of these"):
        read_paired(both, Columns(correct=("own",)))


def test_yes_and_no_say_whether_an_item_was_solved(tmp_path):
    words = [["yes", "No", "YES", "no"], ["True", "FALSE", "true", "false"], [1, 0, 1, 0]]
    paths = [tmp_path / f"{name}.csv" for name in "abc"]
    for path, cells in zip(paths, words, strict=True):
        pd.DataFrame({"id": range(4), "correct": cells}).to_csv(path, index=False)
    assert read_paired(paths, Columns()).values["correct"].T.tolist() == [[1, 0, 1, 0]] * 3


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("a.csv.gz", "unpack it and name the unpacked file, such as a.csv$"),
        ("a.json", "write one object a line and name it a.jsonl$"),
        ("a.xlsx", "give it the ending of what it is$"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_to_do(tmp_path, name, mend):
    (tmp_path / name).write_text("[]")
    with pytest.raises(UserError, match=mend):
        read_item_file(tmp_path / name)


def test_groups_that_could_not_be_read_or_are_called_like_all_items_are_refused(files, tmp_path):
    with pytest.raises(UserError, match=r"a.csv: `type` has a group called `all`, as all items are called; rename it"):
        both = [
            write(tmp_path / f"all/{n}.csv", outcomes(0, 0.5), items=[(*i[:2], "all") for i in ITEMS]) for n in "ab"
        ]
        read_paired(both, Columns(by=("type",)))
    many = [(f"{n}.jpg", f"caption {n}", "add") for n in range(300)]
    large = [write(tmp_path / f"many/{n}.csv", np.arange(300) % 2, items=many) for n in "ab"]
    with pytest.raises(UserError, match="300 groups by caption, more than the 200 that are compared one by one"):
        read_paired(large, Columns(by=("caption",)))


def test_a_column_that_is_named_twice_counts_once(files):
    twice = Columns(item=("filename", "caption") * 2, correct=("correct",) * 2, by=("type",) * 2)
    once = Columns(item=("filename", "caption"), correct=("correct",), by=("type",))
    for found, expected in zip(
        *(compare_paired(read_paired(files, columns)) for columns in (twice, once)), strict=True
    ):
        pd.testing.assert_frame_equal(found, expected)


def test_text_from_files_neither_breaks_lines_nor_reaches_the_terminal_as_a_command(tmp_path):
    items = [(f"{n}.jpg", f"line\n{n}\x1b[2J", "\x1b[31mred" if n % 2 else "plain") for n in range(20)]
    paths = [write(tmp_path / f"{n}.csv", np.arange(20) % 2, items=items) for n in "ab"]
    shown = CliRunner().invoke(app, ["compare", *map(str, paths), "--by", "type"])
    assert shown.exit_code == 0 and "\x1b" not in shown.output and "[31mred" in shown.output
    fewer = write(tmp_path / "c.csv", np.arange(19) % 2, items=items[1:])
    refused = CliRunner().invoke(app, ["compare", str(paths[0]), str(fewer)])
    assert refused.exit_code == 1 and "\x1b" not in refused.stderr and refused.stderr.count("\n") == 1
    assert "c.csv: lacks 1 of the 20 items" in refused.stderr
