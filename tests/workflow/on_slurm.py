"""The tiny experiment through a real SLURM on this machine, by the documented command, against a run without it.

    make cluster-test          # or, where everything is installed: python tests/workflow/on_slurm.py

Starts munge, slurmctld and two nodes of its own (Debian's packages `slurm-wlm` and `munge`, which are installed where
they are missing), runs `snakemake --workflow-profile profiles/slurm -- all`, kills one job, drains one node and takes
it back while it is under way, and compares every table and weight with those of a run on this machine. Exit status 1
when the run fails, when the killed job was not started again, or when a result differs; 0 with the reason where no
SLURM can be had. Takes about half an hour on two cores, most of it waiting and start-up of jobs.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from same_results import EVERYTHING, differences

ROOT = Path(__file__).parents[2]
PLACE = Path("/etc/slurm/slurm.conf")
"""Where programs of SLURM look without being told: inside of jobs the plugin forgets every variable of SLURM's."""
BESIDE = ("signal_gate", "budget_gate", "early_gate", "ablation")
"""Rules of the Snakefile that run where the run is steered, not as jobs of SLURM."""
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel")
# Only what is common to all: no accounting, no cgroups, so that it runs in a container. Nodes are told to have more
# cores than the machine, so that jobs stand side by side. The first line tells what a killed trial left from a SLURM
# that is not ours.
CONF = """# written by tests/workflow/on_slurm.py
ClusterName=trial
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_min_interval=0
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
NodeName=n[1-2] NodeHostname={host} Port=[17011-17012] CPUs=8 RealMemory=32000 State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no SLURM can be had here; None when there is one, which is installed where need be."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "starting slurmctld and slurmd takes root on Linux"
    if PLACE.exists() and not PLACE.read_text(encoding="utf-8").startswith(CONF.partition("\n")[0]):
        return f"{PLACE} is there: this machine has a SLURM of its own"
    if any(shutil.which(program) is None for program in NEEDED):
        if shutil.which("apt-get") is None:
            return f"{', '.join(NEEDED)} are not installed, and there is no apt-get to install them with"
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], install):
            if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
                return f"{' '.join(command)} failed"
    return None


def until(ready: Callable[[], bool], what: str) -> None:
    """Wait a minute for something; end with a line where it does not come."""
    for _ in range(60):
        if ready():
            return
        time.sleep(1)
    sys.exit(f"on_slurm: {what} did not come up")


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A controller and two nodes, while the block runs."""

    def said(command: str) -> list[str] | None:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        return None if done.returncode else done.stdout.split()

    for name in ("state", "spool.n1", "spool.n2"):
        (folder / name).mkdir()
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    PLACE.write_text(CONF.format(host=socket.gethostname(), folder=folder), encoding="utf-8")
    started: list[subprocess.Popen[bytes]] = []
    try:
        if said("munge -n | unmunge") is None:
            Path("/run/munge").mkdir(parents=True, exist_ok=True)
            shutil.chown("/run/munge", "munge")
            started.append(subprocess.Popen(["munged", "--foreground"], user="munge", stderr=subprocess.DEVNULL))
            until(lambda: said("munge -n | unmunge") is not None, "munged")
        for program in ("slurmctld -D", "slurmd -D -N n1", "slurmd -D -N n2"):
            started.append(subprocess.Popen(program.split(), stderr=subprocess.DEVNULL))
        until(lambda: said("sinfo -h -o %T") == ["idle"], f"the nodes ({folder}/*.log)")
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        PLACE.unlink()


def seconds_of_jobs(listed: Path) -> list[float]:
    """How long each job of SLURM took that came to its end, as its own list says."""
    rows = re.findall(r"JobState=COMPLETED .*?StartTime=(\S+) EndTime=(\S+)", listed.read_text(encoding="utf-8"))
    return [(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() for start, end in rows]


def seconds_of_work(results: Path) -> list[float]:
    """How long the script of each rule took, as Snakemake's benchmarks say; gates run beside SLURM."""
    files = [path for path in results.glob("benchmarks/**/*.tsv") if path.stem not in BESIDE]
    return [float(path.read_text(encoding="utf-8").splitlines()[1].split()[0]) for path in files]


def disturb(said: list[str]) -> None:
    """Kill the first training of a method that runs, drain the node it ran on, and take the node back."""

    def call(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    while True:
        time.sleep(1)
        rows = [line.split("|") for line in call("squeue", "-h", "-t", "R", "-o", "%i|%N|%k").splitlines()]
        found = [row for row in rows if row[2].startswith("rule_train_early")]
        if found:
            job, node, comment = found[0]
            time.sleep(3)
            call("scancel", "--signal=KILL", "--full", job)
            call("scontrol", "update", f"nodename={node}", "state=drain", "reason=trial")
            time.sleep(30)
            call("scontrol", "update", f"nodename={node}", "state=resume")
            said.append(f"killed job {job} ({comment}) on {node}; {node} was drained for 30 s")
            return


def main() -> int:
    """Both runs, and their comparison."""
    reason = missing()
    if reason is not None:
        print(f"on_slurm: skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, nodes, alone = Path(scratch), Path(scratch, "cluster"), Path(scratch, "alone")
        for place in (nodes, alone):
            place.mkdir()
            shutil.copy(ROOT / "config.yaml", place)
        shutil.copytree(ROOT / "profiles", nodes / "profiles")
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        tiny = ["--configfile", str(ROOT / "configs/tiny.yaml"), "--", "all"]
        said: list[str] = []
        with slurm(folder):
            began = time.monotonic()
            threading.Thread(target=disturb, args=(said,), daemon=True).start()
            command = [*call, "--workflow-profile", "profiles/slurm", *tiny]
            run = subprocess.run(command, cwd=nodes, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - began
            whole = seconds_of_jobs(folder / "jobs.txt")
        (ROOT / "results_slurm.log").write_text(run.stdout + run.stderr, encoding="utf-8")
        work = seconds_of_work(nodes / "results")
        print(f"on SLURM: exit {run.returncode}, {seconds:.0f} s; {'; '.join(said) or 'nothing was killed'}")
        print(f"{len(whole)} jobs of SLURM took {sum(whole):.0f} s, {sum(work):.0f} s of them in {len(work)} scripts")
        print(f"beside its work a job costs {(sum(whole) - sum(work)) / max(1, len(whole)):.1f} s")
        if run.returncode or not said:
            print(run.stderr[-5000:])
            return 1
        began = time.monotonic()
        subprocess.run([*call, "--cores", "2", *tiny], cwd=alone, check=True, capture_output=True)
        print(f"on this machine alone: {time.monotonic() - began:.0f} s")
        files, wrong = differences(alone / "results", nodes / "results", EVERYTHING)
        again = run.stderr.count("Trying to restart job")
        print(f"{files} files compared, {len(wrong)} differ; {again} jobs were started again")
        print("\n".join(wrong))
        return int(bool(wrong) or not again)


if __name__ == "__main__":
    sys.exit(main())
