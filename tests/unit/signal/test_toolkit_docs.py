"""The worked example of docs/signal-toolkit.md, run as it stands."""

import json
import re
import subprocess

import pytest

from vialign.files.artifacts import read_table
from vialign.tables.signal import DIAGNOSIS, TOOLKIT_SCORES, TRUST, TRUST_DIRECTIONS


@pytest.fixture(scope="module")
def page(repository):
    return repository / "docs" / "signal-toolkit.md"


@pytest.fixture(scope="module")
def example(repository, page, warm, tmp_path_factory):
    """The folder in which every block of the page was run, and what the blocks printed."""
    folder = tmp_path_factory.mktemp("example")
    command = [warm, str(repository / "tests" / "run_page.py"), str(page)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder, json.loads(result.stdout.splitlines()[-1])


def test_the_example_scores_every_caption(example):
    folder, _ = example
    scores = read_table(folder / "scores.parquet", TOOLKIT_SCORES)
    assert len(scores) == 5 * 300 and scores["parsed"].mean() > 0.95
    assert scores["used_for"].value_counts().to_dict() == {"fit": 750, "calibration": 375, "none": 375}
    assert (folder / "units" / "pipeline" / "meta.json").is_file()


def test_its_diagnosis_refuses_both_and_tells_them_apart_as_the_page_says(example, page):
    folder, told = example
    assert "The diagnosis refuses both" in page.read_text(encoding="utf-8")
    assert "Verdict: do not use agreement here." in told[-4]
    assert "Verdict: do not use consistency here." in told[-2]
    table = read_table(folder / "diagnosis.parquet", DIAGNOSIS).set_index(["signal", "kind"])["auc"]
    assert table["agreement", "random"] > 0.97 > 0.65 > table["consistency", "random"]
    assert table["blind", "shuffle"] > 0.95 > 0.6 > table["blind", "random"]


def test_a_wrong_caption_in_memory_scores_below_the_true_one(example):
    true, wrong = (float(line.split()[-1]) for line in example[1][-3].splitlines()[1:])
    assert true > 0.5 > wrong


def test_its_answers_are_judged_in_both_directions(example, page):
    folder, told = example
    table = read_table(folder / "trust.parquet", TRUST)
    assert set(table["direction"]) == set(TRUST_DIRECTIONS) and set(table["images"]) == {75}
    assert told[-1].startswith("AUROC of predicting a wrong answer")
    listed = page.read_text(encoding="utf-8").split("## When to trust an answer")[1].split("**AUROC**")[0]
    assert set(table["predictor"]) <= set(re.findall(r"`([\w ]+)`", listed))


def test_the_page_names_every_column(page):
    table = page.read_text(encoding="utf-8").split("## Reading the scores")[1].split("## Reading the diagnosis")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= set(TOOLKIT_SCORES.columns)
