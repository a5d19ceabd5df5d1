"""Two machines for a training, as far as one can be two: network namespaces with a cable between them.

Each has its own host name, its own address and no way to the other but the cable. `srun` is stood in for by a script
that starts a command in both, as SLURM starts it on both nodes of a job.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = "127.0.0.1 localhost\n10.213.7.1 node0\n10.213.7.2 node1\n"
SRUN = """#!/bin/sh
# The command behind the options, in each namespace; fails when one fails.
while [ "$1" != sh ]; do shift; done
on() {{
    ip netns exec {name}$1 unshare --mount --uts sh -c '
        mount --bind {folder}/hosts /etc/hosts && hostname node$0 && SLURM_NODEID=$0 exec "$@"' "$@"
}}
on 0 "$@" & first=$!
on 1 "$@" & second=$!
wait $first; one=$?
wait $second && exit $one
"""


def missing() -> str | None:
    """Why there can be no two namespaces here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces take root on Linux"
    if any(shutil.which(program) is None for program in ("ip", "unshare", "mount")):
        return "ip, unshare or mount is not installed"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "this kernel, or this container, makes no namespaces"


def ip(*words: str) -> str:
    """What `ip` says; raises where it fails."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@contextmanager
def two_nodes(folder: Path) -> Iterator[str]:
    """Both namespaces while the block runs; gives the beginning of their names. `srun` lies in `folder`."""
    name = f"vialign{os.getpid()}-"
    (folder / "hosts").write_text(HOSTS, encoding="utf-8")
    (folder / "srun").write_text(SRUN.format(name=name, folder=folder), encoding="utf-8")
    (folder / "srun").chmod(0o755)
    try:
        for node in "01":
            ip("netns", "add", f"{name}{node}")
        ip("link", "add", "cable", "netns", f"{name}0", "type", "veth", "peer", "name", "cable", "netns", f"{name}1")
        for node in "01":
            ip("-n", f"{name}{node}", "address", "add", f"10.213.7.{int(node) + 1}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", f"{name}{node}", "link", "set", device, "up")
        yield name
    finally:
        for node in "01":
            subprocess.run(["ip", "netns", "delete", f"{name}{node}"], capture_output=True, check=False)


def received(name: str) -> list[int]:
    """Bytes that came to each node over the cable."""
    told = [json.loads(ip("-n", f"{name}{node}", "-json", "-stats", "link", "show", "cable")) for node in "01"]
    return [found[0]["stats64"]["rx"]["bytes"] for found in told]
