"""Real signals on small processes: what is left behind, and who may take what."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vialign.errors import UserError
from vialign.files import locks
from vialign.files.artifacts import write_text
from vialign.files.locks import lock_results, remove_stale_locks, remove_stale_parts

WRITE = """
import sys, time
from vialign.files.artifacts import atomic_path
from vialign.files.locks import ending_cleanly
with ending_cleanly(), atomic_path(sys.argv[1]) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""
HOLD = """
import sys, time
from vialign.files.locks import join_run, lock_results
{"run": lock_results, "job": join_run}[sys.argv[2]](sys.argv[1])
print("holding", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has written nothing and holds nothing."""
    monkeypatch.setattr(locks, "_swept", set())
    monkeypatch.setattr(locks, "_held", [])


@pytest.fixture
def start():
    """Start one of the programs and wait until it is at work."""
    started = []

    def begin(program: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_a_scheduler_that_ends_a_job_leaves_nothing(tmp_path, start):
    process = start(WRITE, str(tmp_path / "table.parquet"))
    assert len(parts(tmp_path)) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_of_a_living_one(tmp_path, start):
    dead, alive = (start(WRITE, str(tmp_path / name)) for name in ("dead.txt", "alive.txt"))
    dead.kill()
    dead.wait()
    (tmp_path / ".notes.part").write_text("of the user")
    write_text("whole", tmp_path / "next.txt")
    assert {path.name.split(".")[1] for path in parts(tmp_path)} == {"alive", "notes"}
    assert alive.poll() is None


def test_the_next_run_removes_them_from_every_folder(tmp_path, start):
    (tmp_path / "deep").mkdir()
    process = start(WRITE, str(tmp_path / "deep" / "table.parquet"))
    assert remove_stale_parts(tmp_path, below=True) == 0
    process.kill()
    process.wait()
    assert remove_stale_parts(tmp_path) == 0
    assert remove_stale_parts(tmp_path, below=True) == 1 and not parts(tmp_path)


def test_a_second_run_is_told_in_one_line_and_a_killed_one_is_in_nobodys_way(tmp_path, start):
    process = start(HOLD, str(tmp_path), "run")
    with pytest.raises(UserError, match="another run is at work in this results folder") as told:
        lock_results(tmp_path)
    assert "\n" not in str(told.value) and str(tmp_path) in str(told.value)
    process.kill()
    process.wait()
    assert lock_results(tmp_path)


def test_jobs_that_outlive_a_killed_run_are_waited_for(tmp_path, start):
    process = start(HOLD, str(tmp_path), "job")
    with pytest.raises(UserError, match="jobs of a run that was killed"):
        lock_results(tmp_path)
    process.kill()
    process.wait()
    assert lock_results(tmp_path)


def test_only_locks_on_the_own_results_are_removed(tmp_path):
    results, folder = tmp_path / "results", tmp_path / "locks"
    folder.mkdir()
    (folder / "0.input.lock").write_text(f"{results}/a.parquet\n{results}/b.parquet\n")
    (folder / "1.output.lock").write_text(f"{results}/a.parquet\n{tmp_path}/results_of_another/b.parquet\n")
    assert remove_stale_locks(folder, results) == 1
    assert [path.name for path in folder.iterdir()] == ["1.output.lock"]
