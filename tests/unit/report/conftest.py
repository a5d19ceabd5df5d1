"""The page of the whole fake run for all tests of the report."""

from pathlib import Path

import pytest

from unit.report.page import Element, read_page


@pytest.fixture(scope="session")
def text(whole_run: Path) -> str:
    return (whole_run / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(text: str) -> Element:
    return read_page(text)
