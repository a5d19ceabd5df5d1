"""The search page in a real browser: phone, dark, keyboard, accessibility, and text that stays text."""

from threading import Thread

import pytest

from headless import open_page
from indexed import HOSTILE, collection
from vialign.report.server import HOST, search_server

pytestmark = pytest.mark.browser
MARKUP = "a red circle <img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def address():
    with search_server(collection(), 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_in_pictures_out_by_keyboard_on_a_phone(browser, address, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    wrong: list[str] = []
    page = open_page(browser, viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda sent: sent.url.startswith((address, "data:")) or wrong.append(sent.url))
    page.goto(address)
    assert page.evaluate("document.activeElement.id") == "words"
    page.keyboard.type(MARKUP)
    page.keyboard.press("Enter")
    page.wait_for_selector("ol.hits")
    assert page.locator("h1").inner_text() == MARKUP
    assert HOSTILE in page.locator(".name").all_inner_texts()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("[...document.images].forEach((image) => { image.loading = 'eager' })")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 10)")
    assert page.evaluate("document.querySelectorAll('script, b, [onerror]').length") == 0
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Explain"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#phrases")
    assert page.locator("h1").inner_text() == MARKUP
    page.close()
    assert wrong == []
