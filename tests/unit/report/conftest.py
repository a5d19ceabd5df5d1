"""One whole fake run and its page for all tests of the report."""

from pathlib import Path

import pytest

from unit.report.fake_results import PROVENANCE, fake_config, write_fake_results
from unit.report.page import Element, read_page
from vialign.report.build import build_report


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_fake_results(tmp_path_factory.mktemp("whole"))
    build_report(folder, fake_config(), folder / "report/index.html", PROVENANCE)
    return folder


@pytest.fixture(scope="session")
def text(whole_run: Path) -> str:
    return (whole_run / "report/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(text: str) -> Element:
    return read_page(text)
