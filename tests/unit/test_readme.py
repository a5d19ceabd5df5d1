"""The README is short, and what it shows runs."""

import os
import re
import subprocess
import sys

import pytest

from documented import BLOCK
from vialign.names import BENCHMARKS


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def test_it_is_short_and_shows_one_picture_and_the_map_where_it_is_unfolded(page):
    assert len(page.split()) < 700
    shown, _, folded = page.partition("<details>")
    assert len(re.findall(r"!\[", shown)) == 1
    assert re.findall(r"!\[.*?\]\((.+?)\)", folded) == ["docs/images/map.svg"]
    assert not re.search(r"\[[-+]?\d", BLOCK.sub("", page)), "intervals stand in docs/results.md"


def test_what_it_links_to_is_there(page, repository):
    links = [link for link in re.findall(r"\]\(([^)#]+)", page) if ":" not in link]
    assert len(links) > 12
    assert [link for link in links if not (repository / link).is_file()] == []


def test_the_table_beside_other_tools_counts_the_benchmarks_that_there_are(repository):
    table = (repository / "docs/compare.md").read_text(encoding="utf-8").split("## Beside other tools")[1]
    (told,) = re.findall(r"^\| compositional benchmarks \| (\w+) ", table, re.MULTILINE)
    others = {"vqa", "flickr30k_entities"}  # questions, and captions with phrases that are pointed at
    assert others < set(BENCHMARKS) and {"fifteen": 15}[told] == len(set(BENCHMARKS) - others)


def test_its_ten_lines_score_the_true_caption_above_the_wrong_one(page, repository, tmp_path):
    (code,) = [block for language, block in BLOCK.findall(page) if language == "python"]
    assert len(code.splitlines()) <= 10
    settings = {**os.environ, "PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=settings, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    header, true, wrong = done.stdout.splitlines()
    assert header.split()[-1] == "agreement"
    assert float(true.split()[-1]) > 0.5 > float(wrong.split()[-1])
