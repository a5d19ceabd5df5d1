"""A Python that has the large libraries already, for tests that start many short processes.

Most of what a job of the tiny run takes is imports: two to five seconds for one of work. So a server imports them once,
nothing of vialign among them, and every process starts as a copy of it, with the folder, the environment, the output
and the exit status of its own that `python` would give it.

Where the environment variable VIALIGN_FIRST_COLD names a folder, the first start of every script of Snakemake's that
has no file there is a plain `python` all the same, so that it is also seen in an interpreter that has nothing yet.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FIRST_COLD = "VIALIGN_FIRST_COLD"
SHIM = Path(__file__).parents[1] / "src/vialign/backbone/torchvision_shim.py"
PRELOADED = (
    "hypothesis.strategies",
    "pytest",
    "snakemake.cli",
    "snakemake.script",
    "jinja2",
    "jaxtyping",
    "matplotlib.backends.backend_svg",
    "pandas",
    "peft",
    "pyarrow.parquet",
    "pydantic",
    "open_clip",
    "ot",
    "safetensors.torch",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "spacy.lang.en",
    "statsmodels.api",
    "torch._dynamo",
    "torch.distributed.nn.functional",
    "tqdm",
)


@contextmanager
def warm_python(folder: Path) -> Iterator[str]:
    """The path of a program that does what `python SCRIPT ...` and `python -m MODULE ...` do, while this lasts."""
    program, place = folder / "python", folder / "socket"
    own = f"'{sys.executable}' -I -S '{__file__}' ask '{place}'"
    program.write_text(f'#!/bin/sh\nexec {own} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    command = [sys.executable, __file__, "serve", str(place), str(program)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # It ends with the pipe that it is asked through, also when the tests are killed.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None and server.stdin is not None
        assert server.stdout.readline() == "ready\n", "the server did not start"
        yield str(program)
        server.stdin.close()


def ask(place: str, arguments: list[str]) -> int:
    """Have the server run this and wait for its end; the exit status."""
    if FIRST_COLD in os.environ and arguments[0] != "-m" and _is_first(arguments[0], os.environ[FIRST_COLD]):
        os.execv(sys.executable, [sys.executable, *arguments])
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    sent = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(place)
        socket.send_fds(link, [len(sent).to_bytes(8, "big")], [1, 2])
        link.sendall(sent)
        said = link.recv(1)
    return said[0] if said else 255


def _is_first(script: str, folder: str) -> bool:
    """Whether this script starts for the first time; Snakemake puts a word before its name, `tmpx1y2.train.py`."""
    try:
        os.close(os.open(os.path.join(folder, os.path.basename(script).partition(".")[2]), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def serve(place: str, program: str) -> None:
    """Import everything, then start a copy of this process for every request, until the input is closed."""
    import gc
    import importlib
    import importlib.util
    import select
    import signal

    # Before anything imports torchvision; as a file, because the package would import more of vialign.
    found = importlib.util.spec_from_file_location("torchvision_shim", SHIM)
    assert found is not None and found.loader is not None
    shim = importlib.util.module_from_spec(found)
    found.loader.exec_module(shim)
    shim.define_missing_operators()
    for name in PRELOADED:
        importlib.import_module(name)
    assert not any(name.split(".")[0] == "vialign" for name in sys.modules)
    gc.collect()
    gc.freeze()  # the copies share these pages, and go through none of them again
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        signal.signal(signal.SIGCHLD, _take_leave)
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            link, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _carry_out(link, program)
            link.close()


def _take_leave(*_: object) -> None:
    """Wait for the copies that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _carry_out(link: socket.socket, program: str) -> None:
    """Become the process that was asked for; does not return."""
    import atexit
    import threading

    status = 255
    try:
        head, descriptors, *_ = socket.recv_fds(link, 8, 2)
        with link.makefile("rb") as sent:
            request = json.loads(sent.read(int.from_bytes(head, "big")))
        for own, given in zip((1, 2), descriptors, strict=True):
            os.dup2(given, own)
            os.close(given)
        status = _run(request, program)
        threading._shutdown()  # type: ignore[attr-defined]  # as at the end of any Python: threads, then atexit
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        link.sendall(bytes([status]))
        os._exit(status)


def _run(request: dict, program: str) -> int:
    """Run a script or a module as `__main__`; the exit status."""
    import runpy
    import traceback

    behind = set(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    before = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[1:] = [*before, *(path for path in sys.path[1:] if path not in behind)]
    first, *rest = request["arguments"]
    try:
        if first == "-m":
            # A call of Snakemake starts its scripts by the Python that it runs in: by this program.
            if rest[0] == "snakemake":
                sys.executable = program
            sys.argv, sys.path[0] = rest, request["folder"]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = request["arguments"], str(Path(first).resolve().parent)
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
