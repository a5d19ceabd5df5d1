"""The pages of the documentation, built once for every test that looks at them."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def build(tree: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Builds the pages of a checkout into a folder, as `make docs` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, env=settings, check=False)


@dataclass
class Page:
    """What a built page says and where it leads."""

    text: str = ""
    """Of its article, with its code."""
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.page.anchors |= {found[name] or "" for name in ("id", "name") if name in found and tag != "meta"}
        self.page.links += [found[name] or "" for name in ("href", "src") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "article" in self.open and not {"script", "style"} & set(self.open):
            self.page.text += data


def read_page(path: Path) -> Page:
    """A built page, taken apart."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def faults(site: Path) -> list[str]:
    """What is wrong with a folder of built pages: fences left, empty pages, links and anchors that lead nowhere."""
    pages = {path: read_page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        if left := re.search(r"^\s*(```|~~~|\$\$).*", page.text, re.MULTILINE):
            found.append(f"{name}: this is left of a block: {left[0].strip()}")
        if len(page.text.split()) < 40:
            found.append(f"{name}: says nothing")
        for link in page.links:
            address, anchor = urldefrag(link)
            if ":" in address or address.startswith("//"):
                continue  # of another site, or data
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{name}: {link} leads nowhere")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                found.append(f"{name}: {link} names no part of that page")
    return found
