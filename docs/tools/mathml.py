"""A hook of MkDocs that turns the formulas of a page into MathML, which browsers draw without a script or a font.

`pymdownx.arithmatex` finds `$...$` and `$$...$$` and marks them; `latex2mathml` converts what lies between. So formulas
are written in TeX, GitHub shows them too, and the built pages load nothing.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

MARKED = re.compile(
    r'<span class="arithmatex">\\\((?P<inline>.*?)\\\)</span>|<div class="arithmatex">\\\[(?P<block>.*?)\\\]</div>',
    re.DOTALL,
)


def formula(tex: str, block: bool) -> str:
    """TeX as a MathML element; raises ValueError for an unknown command, which the converter would print."""
    mathml = convert(tex.strip(), display="block" if block else "inline")
    unknown = re.search(r">(\\[A-Za-z]+)<", mathml)
    if unknown:
        raise ValueError(f"unknown command {unknown[1]}")
    return f'<div class="formula" tabindex="0">{mathml}</div>' if block else mathml


def on_page_content(content: str, page, **_: object) -> str:
    """The page's HTML with every marked formula converted; an error names the page and the formula."""

    def replaced(found: re.Match[str]) -> str:
        block = found["inline"] is None
        tex = html.unescape(found["block"] if block else found["inline"])
        try:
            return formula(tex, block)
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: the formula {tex!r} is not understood: {error}") from error

    return MARKED.sub(replaced, content)
