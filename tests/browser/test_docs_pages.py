"""Every page of the documentation in a real browser: nothing is cut off, at the desk and on a phone."""

import pytest

from headless import open_page

pytestmark = pytest.mark.browser

WIDER = """() => [...document.querySelectorAll('article *')].filter((item) => {
    const box = item.getBoundingClientRect();
    if (!box.width || box.right <= innerWidth + 1) return false;
    for (let outer = item.parentElement; outer && outer.tagName !== 'ARTICLE'; outer = outer.parentElement)
        if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(outer).overflowX)) return false;
    return true;
}).map((item) => item.tagName + ' ' + item.textContent.trim().slice(0, 40))"""
"""What reaches beyond the screen and does not scroll by itself."""


def test_no_page_is_wider_than_the_screen_or_lacks_a_picture(browser, site):
    page = open_page(browser)
    wrong = []
    paths = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(paths) > 20
    for path in paths:
        name = path.relative_to(site).as_posix()
        page.goto(path.as_uri())
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wrong.append(f"{name}: scrolls sideways at {width} pixels")
            wrong += [f"{name}: {item} at {width} pixels" for item in page.evaluate(WIDER)]
        pictures = "[...document.querySelectorAll('article img')].every((item) => item.complete && item.naturalWidth)"
        if not page.evaluate(pictures):
            wrong.append(f"{name}: a picture is not there")
    page.close()
    assert wrong == []


def test_what_is_too_wide_is_noticed(browser):
    page = open_page(browser, viewport={"width": 360, "height": 800})
    page.set_content("<article><div style='overflow-x:auto'><p style='width:900px'>in</p></div><p>x</p></article>")
    assert page.evaluate(WIDER) == []
    page.set_content("<article><p style='width:900px'>out</p></article>")
    assert page.evaluate(WIDER) == ["P out"]
    page.close()
