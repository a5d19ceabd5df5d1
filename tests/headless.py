"""Chromium without a window, for tests that look at pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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


@contextmanager
def running_browser() -> Iterator[Any]:
    """A browser of playwright; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine; install one to look at the pages in a browser")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE)
        yield running
        running.close()


def open_page(browser: Any, **settings: Any) -> Any:
    """A page that waits as long as a busy machine needs."""
    page = browser.new_page(**settings)
    page.set_default_timeout(PATIENCE)
    return page
