"""The page of `vialign frontier` in a real browser: whole at 360 px, quiet, and readable in the dark."""

import re

import pytest

from headless import open_page
from unit.evaluation.test_frontier import BASE, MEASURED, ROWS, results, write
from unit.report.fake_results import fake_config
from vialign.evaluation.frontier import read_frontier
from vialign.files.artifacts import write_table
from vialign.report.frontier import build_frontier
from vialign.report.sections.frontier import OWN
from vialign.tables.evaluation import RESULTS

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frontier")
    page = folder / "frontier.html"
    write_table(results(MEASURED), RESULTS, folder / "run/compare/results.parquet", {})
    config = fake_config(data={"dataset": "flickr30k", "folder": str(folder)}, evaluation={"splits": ["test"]})
    build_frontier(read_frontier(write(folder / "p.csv", *ROWS)), BASE, page, {}, folder / "run", config)
    return page.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_on_a_phone_and_asks_for_nothing(browser, address, scheme):
    wrong: list[str] = []
    page = open_page(browser, viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda sent: sent.url == address or sent.url[:5] == "data:" or wrong.append(sent.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("figure svg").count() == 5
    outside = """svg => { const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter(t => { const b = t.getBoundingClientRect();
        return b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1
          || b.bottom > box.bottom + 1 }).length }"""
    assert page.locator("figure svg").evaluate_all(f"all => all.map({outside})") == [0] * 5
    # Measured on Flickr30k with both benchmarks, so two drawings have the methods of the run and a label.
    own = page.locator("figure svg text").filter(has_text=re.compile(f"^{OWN}$"))
    assert own.count() == 2 and all(label.is_visible() for label in own.all())
    shown = [text for text in page.locator("figure").all_inner_texts() if OWN in text]
    assert len(shown) == 2 and all("Flickr30k against" in text for text in shown)
    page.close()
    assert wrong == []
