"""Cohen's kappa against scikit-learn's, the sample, and sheets that are whole, spoilt by a spreadsheet, or wrong."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from vialign.analysis.failures.review import (
    KEYS,
    classes_digest,
    cohen_kappa,
    confusion,
    read_sheet,
    review_table,
    sample_failures,
    sheet_text,
)
from vialign.errors import UserError
from vialign.tables.failures import FAILURE_CLASSES

labels = st.lists(st.sampled_from(FAILURE_CLASSES), min_size=1, max_size=40)


def failures(count=80, seed=0, images=30):
    """Failures of two methods that take the same rivals, with a class of their query."""
    draw = np.random.default_rng(seed)
    rows = []
    for item in range(count):
        failure = FAILURE_CLASSES[draw.choice(4, p=[0.1, 0.6, 0.2, 0.1])]
        about = (f"q{item}", f"true {item}", f"chosen {item}", f"i{draw.integers(images)}", failure)
        rows += [(method, 0, "test/b", about[0], *about[1:3], "j", *about[3:]) for method in ("frozen", "m")]
    columns = ["true_text", "chosen_text", "chosen_image", "image_id", "failure"]
    return pd.DataFrame(rows, columns=[*KEYS, *columns])


@given(st.data())
def test_kappa_is_that_of_scikit_learn(data):
    first = data.draw(labels)
    second = data.draw(st.lists(st.sampled_from(FAILURE_CLASSES), min_size=len(first), max_size=len(first)))
    found = cohen_kappa(confusion(pd.Series(first), pd.Series(second)))
    if len({*first, *second}) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_of_the_table_of_cohens_example():
    """Two raters of 50 items who agree on 20 and 15 of two classes: (0.7 - 0.5) / (1 - 0.5)."""
    counts = np.zeros((4, 4), dtype=np.int64)
    counts[:2, :2] = [[20, 5], [10, 15]]
    assert cohen_kappa(counts) == pytest.approx(0.4)


def test_the_sample_has_equally_many_of_each_class_each_failure_once_in_no_order_of_classes():
    frame = failures(400)
    sample = sample_failures(frame, 12, seed=1)
    assert sample["failure"].value_counts().to_dict() == dict.fromkeys(FAILURE_CLASSES, 12)
    assert not sample.duplicated(["benchmark", "item_id"]).any(), "methods that fail alike count once"
    assert (sample["failure"] != sample["failure"].shift()).sum() > 24, "classes do not stand in blocks"
    pd.testing.assert_frame_equal(sample, sample_failures(frame, 12, seed=1))
    assert not sample.equals(sample_failures(frame, 12, seed=2))
    everything = sample_failures(frame, 10_000, seed=1)
    assert len(everything) == 400


def write(path, frame, label):
    sheet = frame[[*KEYS]].assign(number=range(len(frame)), label=label)
    path.write_text(sheet_text(sheet), encoding="utf-8")
    return path


def test_a_sheet_comes_back_as_it_was_filled_in(tmp_path):
    frame = failures()
    sample = sample_failures(frame, 8, seed=0)
    label = [name if place % 3 else "" for place, name in enumerate(sample["failure"])]
    found = read_sheet(write(tmp_path / "a.csv", sample, label), frame)
    assert len(found) == sum(map(bool, label))
    assert found.tolist() == frame.loc[found.index, "failure"].tolist()
    # Spreadsheets change case and spaces, and drop columns that the reader does not need.
    shouted = sample[[*KEYS]].assign(label=[f" {name.upper()}  " for name in sample["failure"]])
    (tmp_path / "b.csv").write_text(shouted.to_csv(index=False), encoding="utf-8")
    assert read_sheet(tmp_path / "b.csv", frame).tolist() == sample["failure"].tolist()


def test_cells_that_look_like_formulas_are_no_formulas_and_still_name_their_row(tmp_path):
    frame = failures(3).assign(benchmark="=cmd|' /C calc'!A0", item_id=lambda f: "-" + f["item_id"])
    text = sheet_text(frame[[*KEYS]].assign(label=frame["failure"]))
    cells = [cell for row in list(csv.reader(io.StringIO(text)))[1:] for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    (tmp_path / "s.csv").write_text(text, encoding="utf-8")
    assert read_sheet(tmp_path / "s.csv", frame).tolist() == frame["failure"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",label", ",etikett"), "row 1: has no field 'label'; keep the header"),
        (lambda text: text.replace(",", ";"), "row 1: has no field 'method'; keep the header .* commas"),
        (
            lambda text: text.replace("OTHER", "dunno"),
            "row 4: label 'dunno' is not one of concept missing, .*; correct",
        ),
        (lambda text: text.replace("q1,", "q999,"), "row 3: item_id 'q999' is no failure of these results; read"),
        (lambda text: text.replace("frozen,0,test/b,q1", "frozen,x,test/b,q1"), "row 3: seed 'x' is no failure"),
        (lambda text: text + text.splitlines()[1], "row 5: is the failure of row 2 again; delete"),
        (lambda text: text.splitlines()[0], "no row has a label; fill the column in first"),
        (lambda text: "", "row 1: has no field 'method'"),
        (lambda text: text.replace("other\n", 'other,"a remark\n', 1), "line 2: is not CSV .a quote is not closed"),
        (
            lambda text: text.replace("label", "label,label").replace("\n", ",\n"),
            "has the field 'label' twice; keep one",
        ),
    ],
)
def test_a_broken_sheet_is_one_line_that_says_where_and_what_to_do(tmp_path, change, message):
    frame = failures(3).iloc[::2].reset_index(drop=True)
    text = frame[[*KEYS]].assign(label="OTHER").to_csv(index=False)
    text = text.replace("OTHER", "other", 2)
    path = tmp_path / "sheet.csv"
    path.write_text(text.replace("OTHER", "other"), encoding="utf-8")
    assert len(read_sheet(path, frame)) == 3, "control: the sheet is whole"
    path.write_text(change(text), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_sheet(path, frame)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_rows_that_a_spreadsheet_left_empty_are_none(tmp_path):
    frame = failures(3)
    text = sheet_text(frame[[*KEYS]].assign(label=frame["failure"], remark="x\ny"))
    (tmp_path / "s.csv").write_text(f"{text}\n,,,,,\n, ,,,,\n", encoding="utf-8")
    assert read_sheet(tmp_path / "s.csv", frame).tolist() == frame["failure"].tolist()


def test_a_sheet_that_is_missing_or_no_text_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_sheet(tmp_path / "none.csv", failures())
    (tmp_path / "sheet.csv").write_bytes("label\nmöglich".encode("utf-16"))
    with pytest.raises(UserError, match="is UTF-16 text; save it as UTF-8"):
        read_sheet(tmp_path / "sheet.csv", failures())


def review(frame, **sheets):
    return review_table(frame, sheets, draws=400, level=0.05, seed=0)


def test_labels_equal_to_the_classes_give_kappa_1_and_shuffled_ones_about_0():
    frame = failures(600)
    same = review(frame, ada=frame["failure"]).iloc[0]
    assert (same["kappa"], same["observed"], same["low"], same["high"]) == (1, 1, 1, 1)
    shuffled = pd.Series(np.random.default_rng(4).permutation(frame["failure"]))
    row = review(frame, ada=shuffled).iloc[0]
    assert abs(row["kappa"]) < 0.1 and row["low"] < 0 < row["high"]


def test_two_people_are_held_against_the_rules_and_against_each_other():
    frame = failures(200)
    draw = np.random.default_rng(2)
    noisy = pd.Series(np.where(draw.random(len(frame)) < 0.3, "other", frame["failure"]))
    table = review(frame, ada=frame["failure"][:300], grace=noisy[100:])
    pairs = table.groupby(["first", "second"], sort=False)
    assert list(pairs.groups) == [("rules", "ada"), ("rules", "grace"), ("ada", "grace")]
    for (first, second), own in pairs:
        raters = {"rules": frame["failure"], "ada": frame["failure"][:300], "grace": noisy[100:]}
        both = raters[first].index.intersection(raters[second].index)
        assert set(own["items"]) == {len(both)} and own["count"].sum() == len(both)
        assert own["kappa"].iloc[0] == pytest.approx(cohen_kappa_score(raters[first][both], raters[second][both]))
        one = own[(own["first_label"] == FAILURE_CLASSES[1]) & (own["second_label"] == "other")]
        expected = ((raters[first][both] == FAILURE_CLASSES[1]) & (raters[second][both] == "other")).sum()
        assert one["count"].item() == expected
    with pytest.raises(UserError, match="ada and grace: no failure was labelled by both"):
        review(frame, ada=noisy[:100], grace=noisy[100:])


def test_the_interval_of_kappa_resamples_images():
    """Oracle: a loop over resamples of the images with scikit-learn's kappa."""
    frame = failures(120, images=20)
    draw = np.random.default_rng(3)
    # People disagree with the rules on whole images.
    bad = set(draw.choice(frame["image_id"].unique(), 6, replace=False))
    label = frame["failure"].where(~frame["image_id"].isin(bad), "concept missing")
    row = review_table(frame, {"ada": label}, draws=2000, level=0.05, seed=1).iloc[0]
    names = frame["image_id"].unique()
    of = {name: np.flatnonzero(frame["image_id"] == name) for name in names}
    drawn = []
    for _ in range(400):
        places = np.concatenate([of[names[n]] for n in draw.integers(len(names), size=len(names))])
        drawn.append(cohen_kappa_score(frame["failure"].iloc[places], label.iloc[places]))
    assert np.allclose((row["low"], row["high"]), np.quantile(drawn, [0.025, 0.975]), atol=0.04)
    alone = frame.assign(image_id=range(len(frame)))
    naive = review_table(alone, {"ada": label}, draws=2000, level=0.05, seed=1).iloc[0]
    assert naive["high"] - naive["low"] < 0.8 * (row["high"] - row["low"]), (
        "control: failures one by one claim too much"
    )


def test_raters_who_only_ever_say_one_class_have_no_kappa():
    frame = failures(20).assign(failure="other")
    row = review(frame, ada=frame["failure"]).iloc[0]
    assert row[["kappa", "low", "high"]].isna().all() and row["observed"] == 1


def test_the_digest_of_the_classes_changes_with_a_class_and_with_nothing_else():
    frame = failures()
    assert classes_digest(frame) == classes_digest(frame.assign(true_text="another"))
    other = frame["failure"].where(frame.index != 7, "other" if frame["failure"][7] != "other" else "concept missing")
    assert classes_digest(frame) != classes_digest(frame.assign(failure=other))
