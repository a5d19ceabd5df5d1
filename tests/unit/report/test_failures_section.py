"""The section on failures: its rates and moves, the review by people, and examples that cover every filter."""

import shutil

import pandas as pd
import pytest

from unit.report.fake_results import HOSTILE, METHODS, PROVENANCE, fake_config, fake_failure, write_fake_results
from unit.report.page import read_page
from vialign.analysis.failures.review import classes_digest, review_table
from vialign.files.artifacts import write_table
from vialign.report.evidence import FILE, ROW, read_evidence
from vialign.report.sections.failure_gallery import choose_examples, place_of, what_decided, which_rule
from vialign.report.sections.failures import failures
from vialign.tables.failures import FAILURE_CLASSES, FAILURE_REVIEW, FAILURE_RULES, FAILURES, PHRASE_KINDS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_fake_results(tmp_path_factory.mktemp("failures"))


@pytest.fixture(scope="module")
def page(run):
    return section(run)


def section(folder, **report):
    config = fake_config(report={"examples": 18, **report})
    return read_page("".join(failures(read_evidence(folder, config), config).blocks))


def table(page, title):
    return next(t for t in page.all("table") if t.all("caption")[0].text().strip().startswith(title))


def test_the_first_sentence_says_how_much_fails_and_what_changed(page, run):
    rates = pd.read_parquet(run / "analyse/failure_rates.parquet")
    rates = rates.set_index(["method", "benchmark", "phrase_kind", "failure"]).sort_index()
    said = next(p.text() for p in page.all("p") if "the frozen backbone fails on" in p.text())
    for method in ("frozen", "vialign"):
        assert f"{100 * rates.loc[(method, 'test/all', 'all', 'all'), 'rate']:.1f}" in said
    own = rates.loc[("vialign", "test/all", "all")]
    for failure in FAILURE_CLASSES:
        clear = own.loc[failure, "change_low"] > 0 or own.loc[failure, "change_high"] < 0
        assert (f"{failure} \N{MINUS SIGN}" in said) == clear
    assert "beyond chance" in said


def test_moves_of_the_main_method_stand_open_and_those_of_others_are_folded(page, run):
    moves = pd.read_parquet(run / "analyse/failure_moves.parquet")
    own = moves[(moves["method"] == "vialign") & (moves["benchmark"] == "test/all")].set_index(["before", "after"])
    shown = table(page, "Percent of queries by what the frozen backbone (rows) and vialign (columns)")
    after = [head.text() for head in shown.all("thead")[0].all("th")][1:]
    for line in shown.all("tbody")[0].all("tr"):
        before = line.all("th")[0].text()
        for name, cell in zip(after, line.all("td"), strict=True):
            assert cell.all("data")[0].text() == f"{100 * own.loc[(before, name), 'share']:.1f}"
    folded = [details.text() for details in page.all("details")]
    assert any("(rows) and lora (columns)" in text for text in folded)
    assert not any("(rows) and vialign (columns)" in text for text in folded)


def test_kinds_of_phrases_and_benchmarks_have_their_tables(page):
    kinds = table(page, "Percent of the queries of test that fail, by the kind of phrase")
    assert [head.text() for head in kinds.all("th")[1:5]] == ["entity", "attribute", "relation", "no phrase"]
    benchmarks = table(page, "Percent of queries of test that fail, by benchmark")
    names = {line.all("th")[0].text() for line in benchmarks.all("tbody")[0].all("tr")}
    assert names == {"test/all", "test/aro_relation", "test/text_to_image"}
    assert table(page, "Percent of queries of test_domain that fail")


def test_controls_are_labelled_and_hidden_until_the_script_can_serve_them(page):
    form = page.named("failure-filter")
    assert "hidden" in form.attributes and form.all("output")[0].attributes["aria-live"] == "polite"
    selects = {select.attributes["id"] for select in form.all("select")}
    assert [label.text() for label in form.all("label")] == ["Method", "Class", "Benchmark"]
    assert {label.attributes["for"] for label in form.all("label")} == selects
    values = [[option.text() for option in select.all("option")] for select in form.all("select")]
    assert values == [
        ["all", *METHODS], ["all", *FAILURE_CLASSES], ["all", "test/aro_relation", "test/text_to_image"],
    ]  # fmt: skip


def test_every_example_says_what_decided_and_by_which_rule(page):
    cards = [item for item in page.all("li") if "data-benchmark" in item.attributes]
    assert len(cards) == 6, "there are six images, and each is shown once"
    for card in cards:
        terms = [term.text() for term in card.all("dt")]
        assert "What decided" in terms and any(term.startswith("Rule: ") for term in terms)
        assert card.all("img") and all(len(text.split()) > 5 for text in (part.text() for part in card.all("dd")[-2:]))
        assert set(card.attributes["data-method"].split()) <= set(METHODS)
        assert "hidden" not in card.attributes, "without JavaScript all are visible"


def test_hostile_words_stay_words(page):
    assert not page.all("script") and HOSTILE in page.text()


def failing(count=300, images=300):
    """Failures of three methods: a common one, and classes and benchmarks that are rare."""
    rows = []
    for number in range(count):
        level = 0 if number % 10 else number // 10
        benchmark = "test/text_to_image" if number % 25 else "test/aro_relation"
        for method in METHODS[: 1 + number % 3]:
            key = dict(method=method, seed=0, benchmark=benchmark, item_id=f"q{number}")
            rows.append(key | fake_failure(level, f"i{number % images}", "j", benchmark))
    return FAILURES.check(pd.DataFrame(rows))


def test_examples_cover_every_method_class_and_benchmark_and_show_an_image_once():
    config = fake_config(report={"examples": 8})
    frame = failing()
    chosen = choose_examples(frame, config)
    assert len(chosen) == 8 and chosen["image_id"].is_unique
    assert set(chosen["failure"]) == set(FAILURE_CLASSES)
    assert set(chosen["benchmark"]) == set(frame["benchmark"])
    assert {method for names in chosen["methods"] for method in names} == set(METHODS)
    for _, row in chosen.iterrows():
        assert row["methods"] == frame.loc[frame["item_id"] == row["item_id"], "method"].tolist()
    pd.testing.assert_frame_equal(chosen, choose_examples(frame, config))
    # Control: the first rows alone would show one class.
    assert frame.head(8)["failure"].nunique() < len(FAILURE_CLASSES)


def test_no_more_examples_than_images_and_none_of_no_failures():
    config = fake_config(report={"examples": 50})
    assert len(choose_examples(failing(images=7), config)) == 7
    assert choose_examples(FAILURES.empty(), config).empty


@pytest.mark.parametrize("rule", FAILURE_RULES)
@pytest.mark.parametrize("kind", PHRASE_KINDS)
@pytest.mark.parametrize("benchmark", ["test/text_to_image", "test/vqa"])
def test_every_rule_and_phrase_has_its_words(rule, kind, benchmark):
    row = fake_failure(0, "i", "j", "aro" if "vqa" in benchmark else benchmark)
    row |= dict(rule=rule, phrase_kind=kind, human=0.6) | {FILE: "f.parquet", ROW: 3}
    if kind == "none":
        row |= dict(phrase=None, prototype=None)
    series = pd.Series(row, dtype=object)
    decided, why = what_decided(series), which_rule(series)
    assert "None" not in decided + why and "nan" not in decided + why
    assert (kind in decided) == (kind != "none") and "<script>" not in decided + why
    measured = {
        "identical text": [], "human answers": ["human", "human_limit"], "missing": [],
        "same words": ["worst_match", "missing_limit"], "agreement": ["agreement", "agreement_limit"],
        "same concepts": ["worst_match_rival", "local_rival", "local_true", "margin_limit"],
        "none": ["worst_match", "local_rival", "local_true"],
    }[rule]  # fmt: skip
    assert all(f'data-column="{column}"' in why for column in measured)
    if rule == "missing" and kind != "none":
        assert 'data-column="missing_limit"' in decided and 'data-column="prototype"' in decided


def test_places_are_said_by_thirds_of_the_image():
    def said(x, y):
        row = {"prototype_x": x, "prototype_y": y, "prototype_area": 0.1, FILE: "f", ROW: 0}
        return place_of(pd.Series(row, dtype=object)).split(",")[0]

    assert [said(0.1, 0.1), said(0.5, 0.5), said(0.9, 0.5), said(0.5, 1.0)] == [
        "upper left",
        "middle",
        "right",
        "lower",
    ]


def reviewed(run, folder, digest):
    shutil.copytree(run, folder)
    frame = pd.read_parquet(folder / "analyse/failures.parquet")
    people = frame["failure"].where(frame.index % 5 != 0, "other")
    review = review_table(frame, {"ada": people}, draws=50, level=0.05, seed=0)
    provenance = PROVENANCE | {"classes_digest": digest or classes_digest(frame)}
    write_table(review, FAILURE_REVIEW, folder / "analyse/failure_review.parquet", provenance)
    return review


def test_the_kappa_of_people_is_shown_with_its_confusion(run, page, tmp_path):
    assert "No person has labelled failures of this run yet" in page.text()
    review = reviewed(run, tmp_path / "run", None)
    shown = section(tmp_path / "run")
    assert f"Cohen's kappa {review['kappa'][0]:.3f} [{review['low'][0]:.3f}" in shown.text()
    counts = table(shown, "Failures by the class that rules (rows) and ada (columns) gave")
    cells = [int(cell.text()) for cell in counts.all("td")]
    assert sum(cells) == review["items"][0] and cells == review["count"].tolist()


def test_labels_given_for_other_classes_are_not_shown(run, tmp_path):
    reviewed(run, tmp_path / "run", "an older digest")
    text = section(tmp_path / "run").text()
    assert "belong to other classes than these" in text and "Cohen's kappa" not in text


def test_a_run_without_rates_and_moves_says_so(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for name in ("failure_rates", "failure_moves"):
        (folder / f"analyse/{name}.parquet").unlink()
    text = section(folder).text()
    assert "Not available: the rates of the classes" in text and "Not available: how queries moved" in text
