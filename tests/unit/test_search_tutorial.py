"""docs/search-tutorial.md, run as it stands: it ends in a verdict and in a page that can be looked at."""

import json
import subprocess

import pytest

from vialign.files.artifacts import read_table
from vialign.tables.signal import DIAGNOSIS


@pytest.fixture(scope="module")
def tutorial(repository, warm, tmp_path_factory):
    """The folder in which every block of the page was run, and what the blocks printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    page = repository / "docs" / "search-tutorial.md"
    command = [warm, str(repository / "tests" / "run_page.py"), str(page)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


def test_it_ends_in_a_verdict(tutorial):
    folder, told = tutorial
    assert any("Verdict: " in said for said in told)
    assert "Verdict: " in (folder / "diagnosis.html").read_text()
    assert len(read_table(folder / "diagnosis.parquet", DIAGNOSIS))


def test_the_folder_is_indexed_once(tutorial):
    told = "\n".join(tutorial[1])
    assert "200 pictures: 200 encoded" in told and "200 pictures: 0 encoded" in told


def test_the_page_shows_pictures_with_what_was_found_in_them(tutorial):
    folder, told = tutorial
    page = (folder / "found.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 12 and "a red circle" in page and "<rect " in page
    assert told[-4].split()[0].endswith(".png") and "a blue square" in told[-4]
