"""`vialign failures`: a sheet goes out blind, comes back filled in, and kappa says how well people and rules agree."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from unit.report.fake_results import HOSTILE, write_fake_results
from unit.report.page import read_page
from vialign.analysis.failures.review import KEYS
from vialign.cli.app import app
from vialign.files.artifacts import read_provenance, read_table
from vialign.tables.failures import FAILURE_CLASSES, FAILURE_REVIEW, FAILURE_RULES, FAILURES


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_fake_results(tmp_path_factory.mktemp("review"))


@pytest.fixture(scope="module")
def review(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "review"
    result = failures("export", results, "--out", folder, "--per-class", 7)
    assert result.exit_code == 0, result.output
    return folder


def failures(*arguments):
    return CliRunner().invoke(app, ["failures", *map(str, arguments)])


def refused(result):
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vialign: ")
    return lines[0]


def filled(review, results, path, change=lambda label: label):
    """The sheet with the class of each failure as its label."""
    sheet = pd.read_csv(review / "sheet.csv", encoding="utf-8-sig", keep_default_na=False)
    classes = read_table(results / "analyse/failures.parquet", FAILURES).set_index([*KEYS])["failure"]
    label = [classes[tuple(row)] for row in sheet[[*KEYS]].itertuples(index=False)]
    sheet.assign(label=change(pd.Series(label))).to_csv(path, index=False)
    return path


def test_the_sheet_is_blind_and_names_texts_images_and_an_empty_label(review):
    sheet = pd.read_csv(review / "sheet.csv", encoding="utf-8-sig", keep_default_na=False)
    assert list(sheet.columns) == [
        "number", *KEYS, "task", "right_text", "right_image", "chosen_text", "chosen_image", "label", "remark",
    ]  # fmt: skip
    assert len(sheet) == 28 and set(sheet["label"]) == {""}
    assert sheet["right_image"].str.startswith("images/test").all() and (sheet["right_text"] == HOSTILE).all()
    assert not {*FAILURE_CLASSES, *FAILURE_RULES} & set(sheet.to_numpy().ravel())
    note = (review / "README.txt").read_text()
    assert all(f"  {name}: " in note for name in FAILURE_CLASSES)


def test_the_page_is_self_contained_escaped_and_does_not_say_the_class(review):
    text = (review / "review.html").read_text()
    page = read_page(text)
    assert "<script>alert" not in text and len(page.all("script")) == 1 and HOSTILE in page.text()
    for element in page.walk():
        for name in ("src", "href"):
            assert element.attributes.get(name, "#").startswith(("#", "data:"))
    cards = [item for item in page.all("section") if "item" in item.attributes["class"].split()]
    assert len(cards) == 28
    for number, card in enumerate(cards, start=1):
        assert card.all("img") and all(image.attributes["alt"] for image in card.all("img"))
        radios = [field for field in card.all("input") if field.attributes["type"] == "radio"]
        assert [radio.attributes["value"] for radio in radios] == list(FAILURE_CLASSES)
        assert not [radio for radio in radios if "checked" in radio.attributes]
        assert card.all("legend") and {radio.attributes["name"] for radio in radios} == {f"label-{number}"}
        # Beside the choices themselves no class and no rule is named.
        said = card.prose("fieldset") + " ".join(card.attributes.values())
        assert not [name for name in (*FAILURE_CLASSES, "same words", "agreement") if name in said]


def test_a_filled_sheet_gives_kappa_1_and_writes_the_table_of_the_report(review, results, tmp_path):
    sheet = filled(review, results, tmp_path / "ada.csv")
    result = failures("import", results, sheet)
    assert result.exit_code == 0, result.output
    assert "rules and ada: kappa 1.000 [1.000, 1.000], agreed on 100.0 % of 28 failures" in result.stdout
    out = results / "analyse/failure_review.parquet"
    table = read_table(out, FAILURE_REVIEW)
    assert set(table["kappa"]) == {1.0} and table.loc[table["first_label"] != table["second_label"], "count"].sum() == 0
    assert read_provenance(out)["rule"] == "failures import" and len(read_provenance(out)["classes_digest"]) == 64


def test_two_people_are_compared_with_the_rules_and_with_each_other(review, results, tmp_path):
    ada = filled(review, results, tmp_path / "ada.csv")
    shuffled = filled(
        review, results, tmp_path / "grace.csv", lambda label: label.sample(frac=1, random_state=3).tolist()
    )
    result = failures("import", results, ada, shuffled)
    assert result.exit_code == 0, result.output
    table = read_table(results / "analyse/failure_review.parquet", FAILURE_REVIEW)
    kappa = table.drop_duplicates(["first", "second"]).set_index(["first", "second"])["kappa"]
    assert kappa["rules", "ada"] == 1 and abs(kappa["rules", "grace"]) < 0.35
    assert kappa["ada", "grace"] == kappa["rules", "grace"]
    assert "rules \\ grace" in result.stdout


def test_two_people_who_said_one_class_throughout_have_no_kappa(review, results, tmp_path):
    ada = filled(review, results, tmp_path / "ada.csv", lambda label: "other")
    grace = filled(review, results, tmp_path / "grace.csv", lambda label: "other")
    result = failures("import", results, ada, grace)
    assert result.exit_code == 0, result.output
    assert "rules and ada: kappa 0.000 [0.000, 0.000], agreed on" in result.stdout
    assert (
        "ada and grace: kappa is not defined (both said one and the same class throughout), agreed on" in result.stdout
    )
    assert result.stdout.endswith("written\n")


def test_what_a_user_does_wrong_is_one_line(review, results, tmp_path):
    again = refused(failures("export", results, "--out", review))
    assert "exists and is not empty; name a new folder" in again
    assert "no such file" in refused(failures("export", tmp_path, "--out", tmp_path / "r"))
    assert "no row has a label" in refused(failures("import", results, review / "sheet.csv"))
    wrong = filled(review, results, tmp_path / "ada.csv", lambda label: label.replace("other", "no idea"))
    assert "label 'no idea' is not one of" in refused(failures("import", results, wrong))
    good = filled(review, results, tmp_path / "ada.csv")
    (tmp_path / "b").mkdir()
    twin = filled(review, results, tmp_path / "b/ada.csv")
    assert "must not occur twice; rename it" in refused(failures("import", results, good, twin))
    assert "must not occur twice" in refused(failures("import", results, good.rename(tmp_path / "rules.csv")))
    assert "a third sheet" in refused(failures("import", results, twin, twin, twin))


def test_missing_images_are_counted_and_said(results, tmp_path):
    (tmp_path / "elsewhere.yaml").write_text("data: {dataset: coco, folder: nowhere}\n")
    result = failures("export", results, "--out", tmp_path / "r", "--config", tmp_path / "elsewhere.yaml")
    assert result.exit_code == 0 and "images were not found; name the run's configuration" in result.stdout
    assert "missing or unreadable" in (tmp_path / "r/review.html").read_text()


@pytest.mark.parametrize("command", ["export", "import"])
def test_help_has_an_example(command):
    result = failures(command, "--help")
    assert result.exit_code == 0 and f"vialign failures {command} results" in " ".join(result.stdout.split())
