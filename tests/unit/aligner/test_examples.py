"""The examples in the docstrings of the aligner, run as pytest finds them."""

import subprocess

from vialign import aligner


def test_all_of_them_run(repository, warm):
    # Without the run-time checks of types and shapes, which other tests make.
    command = [warm, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    command += ["--doctest-modules", *aligner.__path__]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "4 passed" in done.stdout
