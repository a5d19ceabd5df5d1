"""The adapter between a Snakemake script and one typed function of the package.

A script is: `with stage(snakemake) as run:`, one import, and one call with `run` alone. The function reads the named
inputs and writes the named outputs.
"""

import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from vialign.config.experiment import Config, digest, load_config
from vialign.config.sections import Reads, guarded
from vialign.errors import UserError, unforeseen
from vialign.files.artifacts import Provenance
from vialign.files.locks import ending_cleanly, join_run

_PACKAGES = ("torch", "open_clip_torch", "spacy", "numpy", "pandas", "pyarrow", "scikit-learn")


@dataclass(frozen=True)
class Run:
    """What a script needs from its rule."""

    input: Any
    output: Any
    params: Any
    wildcards: Any
    threads: int
    config: Config
    """Of it, the sections that the rule declares in `params.config`; reading another raises UndeclaredSection."""
    provenance: Provenance
    """Config digest, code digest, seed, versions and rule; add the backbone's contract where one is used."""

    @property
    def results(self) -> Path:
        """The run's results folder: the one that holds this job's outputs, which with a storage is a copy of its own.

        Raises ValueError when the first output lies in none.
        """
        name = tuple(part for part in Path(self.config.results).parts if part not in (os.sep, os.pardir))
        for folder in Path(self.output[0]).parents:
            if folder.parts[-len(name) :] == name:
                return folder
        raise ValueError(f"{self.output[0]} does not lie in a folder {self.config.results}")


class _Tee:
    """Writes to the terminal and to the rule's log at once."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            try:
                stream.write(text)
            except UnicodeEncodeError as error:  # a console without these signs
                stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def isatty(self) -> bool:
        return False


@contextmanager
def stage(snakemake: Any) -> Iterator[Run]:
    """Connect a script to its rule: log, threads, config, provenance, and errors as one line.

    A `UserError` ends the job with exit status 1 and its message as the only line shown; any other exception is a bug:
    one line too, and its traceback in the log alone. SIGTERM, by which schedulers end jobs, leaves no unfinished file.
    """
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    # A thread that waits must not keep the core that the one it waits for needs: beside other work, two threads did
    # half as much with OpenMP's default (docs/measurements.md). Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    free_tables_at_once()
    log_path = Path(snakemake.log[0])
    log_path.parent.mkdir(parents=True, exist_ok=True)
    stdout, stderr = sys.stdout, sys.stderr
    with log_path.open("w", encoding="utf-8", errors="backslashreplace") as log, ending_cleanly():
        sys.stdout, sys.stderr = _Tee(stdout, log), _Tee(stderr, log)
        started = time.monotonic()
        try:
            reads = Reads(snakemake.rule, getattr(snakemake.params, "config", None) or ())
            yield _open(snakemake, reads)
            log.write(f"{snakemake.rule}: read of the configuration: {', '.join(sorted(reads.seen)) or 'nothing'}\n")
            log.write(f"{snakemake.rule}: done in {time.monotonic() - started:.1f} s\n")
        except UserError as error:
            print(f"vialign: {error}", file=sys.stderr)
            if error.__cause__ is not None:
                traceback.print_exception(error, file=log)
            raise SystemExit(1) from None
        except Exception as error:
            traceback.print_exc(file=log)
            print(f"vialign: {snakemake.rule}: {unforeseen(error)}; its traceback is in {log_path}", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            sys.stdout, sys.stderr = stdout, stderr


def free_tables_at_once() -> None:
    """Let Arrow take memory from the system, unless the user chose: its own allocator keeps what tables have freed.

    Measured in docs/measurements.md, Memory.
    """
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def _open(snakemake: Any, reads: Reads) -> Run:
    config = load_config(snakemake.config)
    join_run(config.results)
    provenance = make_provenance(config, snakemake.rule, str(getattr(snakemake.params, "code", "")))
    provenance.update({f"wildcard_{name}": str(value) for name, value in snakemake.wildcards.items()})
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(snakemake.threads)
    return Run(
        input=snakemake.input,
        output=snakemake.output,
        params=snakemake.params,
        wildcards=snakemake.wildcards,
        threads=snakemake.threads,
        config=guarded(config, reads),
        provenance=provenance,
    )


def make_provenance(config: Config, rule: str, code: str, extra: Mapping[str, str] | None = None) -> Provenance:
    """What every artifact of a run carries."""
    return {
        "rule": rule,
        "config_name": config.name,
        "config_digest": digest(config),
        "code_digest": code,
        "seed": str(config.seed),
        "python": platform.python_version(),
        "machine": machine(),
        **{f"version_{package}": version(package) for package in _PACKAGES},
        **(extra or {}),
    }


def machine(system: Path = Path("/proc")) -> str:
    """Processor, how many, memory in GiB and accelerators of this machine; what the system does not tell is left out.

    `system` is where Linux tells of itself.
    """
    model = _field(system / "cpuinfo", "model name") or platform.processor() or platform.machine()
    words = [f"{model}, {os.cpu_count()} processors"]
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        words.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    words += [_field(path, "Model") or "GPU" for path in sorted(system.glob("driver/nvidia/gpus/*/information"))]
    return ", ".join(words)


def _field(path: Path, name: str) -> str | None:
    """The first value of `name: value` in a text file; None where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in found if key.strip() == name), None)
