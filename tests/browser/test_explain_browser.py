"""The page of `vialign explain` in a real browser: whole at 360 px, quiet, and a script in a caption stays text."""

import pytest
from PIL import Image

from explained import finished_run
from headless import open_page
from vialign.analysis.explain import explain_pair
from vialign.report.explain import write_explanation

pytestmark = pytest.mark.browser
HOSTILE = "a red circle <script>alert(1)</script> above a blue square"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    run, _, image = finished_run()
    found = explain_pair(run, Image.open(image).convert("RGB"), HOSTILE)
    return write_explanation(found, run.provenance, tmp_path_factory.mktemp("explain"))[0].as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_on_a_phone_and_asks_for_nothing(browser, address, scheme):
    wrong: list[str] = []
    page = open_page(browser, viewport={"width": 360, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda sent: sent.url == address or sent.url[:5] == "data:" or wrong.append(sent.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.locator("h1").inner_text() == HOSTILE
    page.close()
    assert wrong == []
