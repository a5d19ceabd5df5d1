"""The examples in the docstrings of the toolkit, run as pytest finds them."""

import inspect
import subprocess

from vialign import toolkit


def test_every_function_has_an_example_and_all_of_them_run(repository, warm):
    functions = [found for name in toolkit.__all__ if inspect.isfunction(found := getattr(toolkit, name))]
    assert len(functions) > 9
    assert [function.__name__ for function in functions if ">>> " not in function.__doc__] == []
    # Without the run-time checks of types and shapes, which other tests of the toolkit make.
    command = [warm, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    command += ["--doctest-modules", *toolkit.__path__]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{len(functions) + 1} passed" in done.stdout  # and one of a method, Signal.score
