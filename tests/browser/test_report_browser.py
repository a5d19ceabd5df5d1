"""The report in a real browser: nothing breaks, nothing leaves the file, nothing is cut off."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unit.report.fake_results import HOSTILE, PROVENANCE, fake_config, write_fake_results
from vialign.report import build_report

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


PATIENCE = 180_000
"""Milliseconds to wait for the browser: the machine may be busy with other tests."""


def open_page(browser: Any, **settings: Any) -> Any:
    page = browser.new_page(**settings)
    page.set_default_timeout(PATIENCE)
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine; install one to look at the report in a browser")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_fake_results(tmp_path_factory.mktemp("browser"))
    build_report(folder, fake_config(), folder / "report/index.html", PROVENANCE)
    return (folder / "report/index.html").as_uri()


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
    assert page.locator("section").count() == 13 and page.locator("table").count() > 15
    assert page.locator("thead button").count() == 0
    assert len(page.pdf(path=tmp_path / "report.pdf")) > 50_000
    context.close()
