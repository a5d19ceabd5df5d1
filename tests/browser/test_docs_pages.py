"""Every page of the documentation in a real browser: nothing is cut off, at the desk and on a phone."""

import pytest
from markdown import markdown

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
PICTURES = "[...document.querySelectorAll('article img')].every((item) => item.complete && item.naturalWidth)"
AS_ON_GITHUB = "<style>img {max-width: 100%} table {display: block; overflow: auto} pre {overflow: auto}</style>"


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
        if not page.evaluate(PICTURES):
            wrong.append(f"{name}: a picture is not there")
    page.close()
    assert wrong == []


def test_the_readme_fits_the_screen_and_shows_its_pictures(browser, repository, tmp_path):
    text = (repository / "README.md").read_text(encoding="utf-8").replace("<details>", '<details open markdown="1">')
    body = markdown(text, extensions=["fenced_code", "tables", "md_in_html"])
    place = tmp_path / "readme.html"
    base = f"<meta charset='utf-8'><base href='{repository.as_uri()}/'>"
    place.write_text(f"{base}{AS_ON_GITHUB}<article>{body}</article>", encoding="utf-8")
    page = open_page(browser)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(place.as_uri())
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth") and page.evaluate(WIDER) == []
    assert page.evaluate(PICTURES) and page.locator("article img").count() == 2
    assert page.locator("article table").count() == 1 and "```" not in page.inner_text("article")
    page.close()


def test_what_is_too_wide_is_noticed(browser):
    page = open_page(browser, viewport={"width": 360, "height": 800})
    page.set_content("<article><div style='overflow-x:auto'><p style='width:900px'>in</p></div><p>x</p></article>")
    assert page.evaluate(WIDER) == []
    page.set_content("<article><p style='width:900px'>out</p></article>")
    assert page.evaluate(WIDER) == ["P out"]
    page.close()
