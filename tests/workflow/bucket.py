"""A bucket of a server on this machine, for tests of runs whose results lie in one."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NEEDED = {
    "snakemake_storage_plugin_s3": "snakemake-storage-plugin-s3",
    "moto": "moto[s3]",
    "flask": "flask",
    "flask_cors": "flask-cors",
}
BUCKET = "trial"


def missing() -> str | None:
    """Why there can be no bucket here."""
    lacking = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    return f"{', '.join(lacking)} not installed; `pip install -e '.[test]'` installs them" if lacking else None


@contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """An empty S3 server while the block runs; gives the environment in which Snakemake finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys = dict.fromkeys(("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "SNAKEMAKE_STORAGE_S3_SECRET_KEY"), "trial")
    try:
        for _ in range(240):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.5)
        else:
            raise RuntimeError("the server did not come up")
        yield {**os.environ, **keys, "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        server.terminate()
        server.wait()


def connect(environment: Mapping[str, str]) -> Any:
    """The server as boto3 sees it."""
    import boto3

    keys = {name: "trial" for name in ("aws_access_key_id", "aws_secret_access_key")}
    address = environment["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"]
    return boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys)


def fetch(environment: Mapping[str, str], folder: Path) -> int:
    """Everything in the bucket, written below `folder`; how many files that were."""
    count = 0
    for found in connect(environment).Bucket(BUCKET).objects.all():
        place = folder / found.key
        place.parent.mkdir(parents=True, exist_ok=True)
        found.Object().download_file(str(place))
        count += 1
    return count
