"""The browser that all tests of a file share."""

from collections.abc import Iterator
from typing import Any

import pytest

from headless import running_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, or the test is skipped."""
    with running_browser() as running:
        yield running
