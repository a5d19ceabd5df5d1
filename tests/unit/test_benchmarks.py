"""The scripts of benchmarks/ that others rely on."""

import os
import signal
import subprocess
import sys

import pytest


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
        assert busy.wait(timeout=60) == 0
    assert all(gone(pid) for pid in loops)


def test_busy_loops_end_by_themselves_when_asked_to(repository):
    command = [sys.executable, str(repository / "benchmarks/busy.py"), "1", "--seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert gone(int(done.stdout.partition(": ")[2]))
