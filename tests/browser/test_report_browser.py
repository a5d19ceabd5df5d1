"""The report in a real browser: nothing breaks, nothing leaves the file, nothing is cut off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headless import open_page
from unit.report.fake_results import HOSTILE, fake_config, write_fake_results
from vialign.analysis.failures.review import LABEL_MEANINGS, read_sheet, sample_failures
from vialign.files.artifacts import write_text
from vialign.report.failure_sheet import review_page
from vialign.report.pictures import open_album

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(whole_run: Path) -> str:
    return (whole_run / "report/index.html").as_uri()


@pytest.fixture(scope="module", params=[(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")], ids=str)
def shown(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[tuple[Any, list[str]]]:
    """The page at one width and scheme, and whatever went wrong while it was open."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = open_page(context)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda sent: sent.url in (address,) or sent.url[:5] == "data:" or wrong.append(sent.url))
    page.goto(address)
    yield page, wrong
    context.close()


def test_page_is_quiet_whole_and_not_wider_than_the_screen(shown):
    page, wrong = shown
    page.evaluate("document.querySelectorAll('details').forEach((item) => (item.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter((item) => {
            const box = item.getBoundingClientRect();
            return box.width && box.right > innerWidth + 1 && !item.closest('.scroll, pre, svg');
        }).map((item) => item.outerHTML.slice(0, 120))"""
    )
    assert outside == []
    assert wrong == []


def test_every_figure_is_drawn_and_every_image_decoded(shown):
    page, wrong = shown
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].map((svg) => {
            const box = svg.getBBox(), seen = svg.getBoundingClientRect();
            const texts = [...svg.querySelectorAll('text')];
            const cut = texts.filter((text) => {
                const own = text.getBoundingClientRect();
                return own.left < seen.left - 2 || own.right > seen.right + 2;
            }).map((text) => text.textContent);
            const marks = svg.querySelectorAll('path, use').length;
            return {width: box.width, height: box.height, seen: seen.width, marks, cut};
        })"""
    )
    assert len(boxes) >= 20
    assert all(box["width"] > 50 and box["height"] > 20 and box["seen"] > 200 and box["marks"] > 3 for box in boxes)
    assert [box["cut"] for box in boxes if box["cut"]] == []
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert wrong == []


def test_script_in_a_caption_stays_text(shown):
    page, wrong = shown
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert HOSTILE in page.locator("#failures").inner_text()
    assert wrong == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_no_serious_violation(browser, address, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = open_page(context)
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((item) => (item.open = true))")
    # The rows of a table are alike and a drawing is one image to assistive software: looking at all takes minutes.
    page.evaluate(
        """() => {
            document.querySelectorAll("tbody tr:nth-child(n+4)").forEach((row) => row.remove());
            document.querySelectorAll("svg > :not(title)").forEach((stroke) => stroke.remove());
        }"""
    )
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response
    assert len(found["passes"]) > 20
    grave = [item for item in found["violations"] if item["impact"] in ("serious", "critical")]
    assert [(item["id"], item["help"], [node["html"][:160] for node in item["nodes"][:3]]) for item in grave] == []
    # Positive control: axe sees what it looks for.
    page.evaluate("document.querySelector('main img').removeAttribute('alt')")
    control = axe.Axe().run(page, options={"runOnly": {"type": "rule", "values": ["image-alt"]}}).response
    assert [item["id"] for item in control["violations"]] == ["image-alt"]
    context.close()


def test_tables_filter_by_words_and_say_how_many_rows_are_left(browser, address):
    page = open_page(browser)
    page.goto(address)
    field = page.get_by_label("Filter rows of Last check")
    table = page.locator("#training table").first
    rows = table.locator("tbody tr")
    every = rows.count()
    field.focus()
    page.keyboard.type("VIALIGN 1")
    shown = [row.inner_text().split() for row in rows.all() if row.is_visible()]
    assert 0 < len(shown) < every and all(row[0] == "vialign" for row in shown)
    said = page.locator("#training .filter output").first
    assert said.inner_text() == f"{len(shown)} of {every} rows"
    field.fill("no such word")
    assert not [row for row in rows.all() if row.is_visible()]
    field.fill("")
    assert all(row.is_visible() for row in rows.all()) and said.inner_text() == ""
    controls = page.evaluate("[...document.querySelectorAll('input')].every((input) => input.labels.length === 1)")
    assert controls and page.locator("input").count() > 10
    page.close()


def test_drawn_values_are_a_download_that_needs_no_network(browser, address):
    page = open_page(browser)
    page.goto(address)
    links = page.locator("figure a[download]")
    assert links.count() == page.locator("figure svg").count()
    with page.expect_download() as waiting:
        links.first.click()
    frame = pd.read_csv(waiting.value.path())
    assert waiting.value.suggested_filename == "summary-results.csv"
    assert {"method", "value", "low", "high"} <= set(frame) and len(frame) > 10
    assert page.url == address
    page.close()


def test_tables_sort_by_button_and_tell_assistive_software(browser, address):
    page = open_page(browser)
    page.goto(address)
    header = page.locator("#comparison table th", has_text="vialign").first
    button = header.locator("button")
    button.focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    place = header.evaluate("(cell) => cell.cellIndex")
    values = page.locator("#comparison table").first.evaluate(
        "(table, place) => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[place].dataset.sort))", place
    )
    assert len(values) > 10 and values == sorted(values)
    button.click()
    assert header.get_attribute("aria-sort") == "descending"
    page.close()


def test_missing_values_come_last_in_both_directions(browser, address):
    page = open_page(browser)
    page.goto(address)
    table = page.locator("table", has=page.get_by_text("Probe from")).first
    header = table.locator("th[scope=col]", has_text="Gain")
    place = header.evaluate("(cell) => cell.cellIndex")
    for _ in range(2):
        header.locator("button").click()
        cells = table.locator("tbody tr").all()
        assert cells[-1].locator("th, td").nth(place).inner_text() == "\N{EN DASH}"
    page.close()


def test_the_table_of_contents_works_by_keyboard(browser, address):
    # A smooth scroll takes as long as a busy machine likes; readers who ask for less motion are there at once.
    page = open_page(browser, reduced_motion="reduce")
    page.goto(address)
    links = page.locator("nav a")
    assert links.all_inner_texts() == [title.inner_text() for title in page.locator("main h2").all()]
    page.locator(".skip").focus()
    for place in range(links.count()):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == links.nth(place).inner_text()
    page.keyboard.press("Enter")
    assert page.url.endswith("#provenance")
    # Asked again and again: the page's own policy forbids what waiting inside of it would take.
    for _ in range(100):
        page.wait_for_timeout(100)
        if page.evaluate("document.getElementById('provenance').getBoundingClientRect().top < innerHeight"):
            break
    else:
        pytest.fail("the last section was not scrolled to")
    page.close()


def test_keyboard_reaches_content_and_wide_tables(browser, address):
    page = open_page(browser, viewport={"width": 360, "height": 800})
    page.goto(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    region = page.locator("#comparison .scroll").first
    region.focus()
    before = region.evaluate("(item) => item.scrollLeft")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
    assert region.evaluate("(item) => item.scrollLeft") > before
    page.close()


def test_page_reads_without_javascript_and_prints(browser, address, tmp_path: Path):
    context = browser.new_context(java_script_enabled=False)
    page = open_page(context)
    page.goto(address)
    assert page.locator("section").count() == 15 and page.locator("table").count() > 15
    assert page.locator("thead button, input").count() == 0
    assert len(page.pdf(path=tmp_path / "report.pdf")) > 50_000
    context.close()


def test_examples_of_failures_filter_by_labelled_controls_and_say_how_many_are_left(browser, address):
    page = open_page(browser)
    page.goto(address)
    form, cards = page.locator("#failure-filter"), page.locator(".failures > li")
    total = cards.count()
    form.get_by_label("Class").select_option("other")
    shown = page.locator(".failures > li:visible")
    assert 0 < shown.count() < total
    assert set(shown.evaluate_all("(items) => items.map((item) => item.dataset.class)")) == {"other"}
    assert form.locator("output").inner_text() == f"{shown.count()} of {total} examples"
    form.get_by_label("Class").select_option("")
    form.get_by_label("Method").select_option("frozen")
    assert all("frozen" in names.split() for names in shown.evaluate_all("(i) => i.map((item) => item.dataset.method)"))
    form.get_by_label("Method").select_option("")
    assert shown.count() == total
    page.close()


def test_a_review_sheet_is_filled_in_by_keys_and_read_back(browser, tmp_path: Path):
    folder = write_fake_results(tmp_path / "run")
    frame = pd.read_parquet(folder / "analyse/failures.parquet")
    sample = sample_failures(frame, 3, seed=0)
    write_text(review_page(sample, open_album(None, folder, fake_config()))[0], tmp_path / "review.html")
    page = open_page(browser, viewport={"width": 360, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.goto((tmp_path / "review.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("j")
    for failure in sample["failure"]:
        page.keyboard.press(str(1 + list(LABEL_MEANINGS).index(failure)))
    assert page.locator("#state").inner_text() == "12 of 12 labelled, not saved"
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(tmp_path / "ada.csv")
    labels = read_sheet(tmp_path / "ada.csv", frame)
    assert len(labels) == 12 and labels.tolist() == frame.loc[labels.index, "failure"].tolist()
    assert wrong == []
    page.close()
