"""The Python that starts in no time gives a process what `python` gives it, and nothing of vialign beforehand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warm_python import FIRST_COLD

pytestmark = pytest.mark.workflow
TELL = """
import atexit, os, sys
atexit.register(print, "at exit")
print(sys.argv[1:], os.getcwd(), os.environ["GIVEN"], sys.path[0], __name__)
print(sum(name.startswith("vialign") for name in sys.modules), "torch" in sys.modules)
print("error", file=sys.stderr)
sys.exit(7)
"""


def start(python: str, *arguments: str, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIVEN": "a b", **given}
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_script_is_run_as_by_python(warm: str, tmp_path: Path) -> None:
    script = tmp_path / "tell.py"
    script.write_text(TELL, encoding="utf-8")
    own, plain = (start(python, str(script), "x y", "'", folder=tmp_path) for python in (warm, sys.executable))
    assert own.returncode == plain.returncode == 7
    assert own.stderr == plain.stderr == "error\n"
    assert own.stdout.replace("0 True", "0 False") == plain.stdout and "0 True" in own.stdout


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("raise SystemExit('so')", 1, "so\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 255, ""),
    ],
)
def test_every_end_has_its_status(warm: str, tmp_path: Path, ending: str, status: int, said: str) -> None:
    (tmp_path / "end.py").write_text(ending, encoding="utf-8")
    for arguments in (["end.py"], ["-m", "end"]):
        done = start(warm, *arguments, folder=tmp_path, PYTHONPATH=str(tmp_path))
        assert done.returncode == status and done.stderr.endswith(said)


def test_the_path_of_modules_is_that_of_the_call(warm: str, tmp_path: Path) -> None:
    package = tmp_path / "src/vialign"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("print('the copy')", encoding="utf-8")
    (tmp_path / "use.py").write_text("import vialign", encoding="utf-8")
    assert start(warm, "use.py", folder=tmp_path, PYTHONPATH=str(tmp_path / "src")).stdout == "the copy\n"


def test_the_first_start_of_a_script_is_cold_where_that_is_asked_for(warm: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    for name in ("tmpab12.one.py", "tmpcd34.one.py", "tmpef56.two.py"):
        (tmp_path / name).write_text("import sys; print('torch' in sys.modules)", encoding="utf-8")
    given = {FIRST_COLD: str(tmp_path / "first")}
    names = ("tmpab12.one.py", "tmpcd34.one.py", "tmpef56.two.py")
    said = [start(warm, name, folder=tmp_path, **given).stdout for name in names]
    assert said == ["False\n", "True\n", "False\n"]
