"""The scripts of benchmarks/ that others rely on."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from scripts import load_script
from unit.report.fake_results import PROVENANCE, fake_config, write_fake_results
from vialign.files.artifacts import read_table, write_table
from vialign.tables.evaluation import COMPARISONS
from vialign.tables.gates import ABLATION, VERDICT


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_busy_loops_end_with_the_process_that_started_them(repository, end):
    command = [sys.executable, str(repository / "benchmarks/busy.py"), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as busy:
        loops = [int(pid) for pid in busy.stdout.readline().partition(": ")[2].split()]
        assert len(loops) == 2 and not any(gone(pid) for pid in loops)
        busy.send_signal(end)
        assert busy.wait() == 0
    assert all(gone(pid) for pid in loops)


def test_busy_loops_end_by_themselves_when_asked_to(repository):
    command = [sys.executable, str(repository / "benchmarks/busy.py"), "1", "--seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert gone(int(done.stdout.partition(": ")[2]))


@pytest.fixture(scope="module")
def cross_kernel(repository):
    """The script as a module."""
    return load_script(repository / "benchmarks/cross_kernel.py")


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory):
    """A run with its config, as it leaves it."""
    folder = write_fake_results(tmp_path_factory.mktemp("run"))
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report/config.yaml").write_text(yaml.safe_dump(fake_config().model_dump(mode="json")))
    return folder


@pytest.fixture
def two_runs(stored_run, tmp_path):
    """The same run twice."""
    return [shutil.copytree(stored_run, tmp_path / name) for name in ("one_thread", "two_threads")]


def rewritten(folder, path, table, change):
    frame = read_table(folder / path, table)
    change(frame)
    write_table(frame, table, folder / path, PROVENANCE)


def compared(cross_kernel, folders, capsys):
    """Exit status, and the rows of the printed table that are not the same in both runs."""
    with pytest.raises(SystemExit) as ended:
        cross_kernel.main(["--compare", *map(str, folders)])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[0] == ["claim", "one thread", "two threads", "same"] and len(rows) > 100
    return ended.value.code, {row[0]: row[1:-1] for row in rows[2:] if row[-1] == "**no**"}


def test_two_runs_that_measured_the_same_make_the_same_claims(cross_kernel, two_runs, capsys):
    def a_little(frame):
        frame["difference"] += 0.001

    rewritten(two_runs[1], "compare/comparisons.parquet", COMPARISONS, a_little)
    assert compared(cross_kernel, two_runs, capsys) == (0, {})


def test_a_comparison_that_is_significant_in_one_run_only_is_named(cross_kernel, two_runs, capsys):
    def one_less(frame):
        row = frame["method"].eq("vialign") & frame["reference"].eq("lora")
        row &= frame["benchmark"].eq("test/text_to_image") & frame["measure"].eq("r1")
        assert row.sum() == 1
        frame.loc[row, "p_holm"] = 0.27

    rewritten(two_runs[1], "compare/comparisons.parquet", COMPARISONS, one_less)
    status, differing = compared(cross_kernel, two_runs, capsys)
    assert status == 1
    words = differing["the method against lora: test/text_to_image, r1"]
    assert words == ["better (+3.0 points, p 0.02)", "not shown (+3.0 points, p 0.27)"]
    assert differing["headline"][0].startswith("Yes") and differing["headline"][1].startswith("Partly")
    counts = differing["Did the method beat LoRA, and by how much? (1)"]
    assert "better on 21 of 21 measures" in counts[0] and "better on 20 of 21 measures" in counts[1]


def test_another_choice_and_another_verdict_are_named(cross_kernel, two_runs, capsys):
    def another_choice(frame):
        frame["chosen"] = frame["method"] == "vialign-none"

    def another_verdict(frame):
        frame.loc[0, "met"] = False
        frame["action"] = "warn"

    rewritten(two_runs[1], "ablate/ablation.parquet", ABLATION, another_choice)
    rewritten(two_runs[0], "gates/early.parquet", VERDICT, another_verdict)
    status, differing = compared(cross_kernel, two_runs, capsys)
    assert status == 1 and differing["chosen combination"] == ["vialign", "vialign-none"]
    assert differing["early gate"] == ["warned, run went on", "passed"]
    assert differing["early gate: the early evidence lies beyond chance: met"] == ["no (0.61)", "yes (0.61)"]


def test_a_claim_that_only_one_run_makes_is_no_agreement(cross_kernel, two_runs, capsys):
    (two_runs[1] / "evaluate/blind.parquet").unlink()
    status, differing = compared(cross_kernel, two_runs, capsys)
    assert status == 1 and differing["solved without an image: test/aro_order"] == ["yes", "—"]


def test_every_benchmark_finds_what_it_imports(repository):
    """They are run by hand, so a name that is gone from the package would be missed until somebody does."""
    files = sorted((repository / "benchmarks").glob("*.py"))
    assert len(files) >= 5
    for path in files:
        load_script(path)
