"""A run into a bucket is planned as one on a disk, and goes on from what lies there; `make storage-test` makes one."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from vialign.config.experiment import read_config
from vialign.config.sections import stamp_path, write_stamp
from vialign.files.artifacts import write_table
from vialign.tables.gates import VERDICT
from workflow.bucket import BUCKET, bucket, connect, missing

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.workflow
STORAGE = ["--default-storage-provider", "s3", "--default-storage-prefix", f"s3://{BUCKET}/vialign"]
ROW = {"gate": "signal", "criterion": "one", "value": 0.0, "low": 0.0, "high": 0.0, "threshold": 0.0, "met": True}
ROW |= {"required": True, "undecided": False, "evidence": "none", "reason": "none"}


def plan(python: str, folder: Path, environment: dict[str, str], *storage: str) -> str:
    """What a dry run of everything says, where only a missing file is a reason to make it."""
    command = [python, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *storage]
    command += ["--configfile", str(ROOT / "configs/tiny.yaml"), "--rerun-triggers", "params", "--dry-run", "--", "all"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def planned(said: str) -> dict[str, int]:
    """How many jobs of each rule it names."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE)}


def test_a_bucket_is_planned_as_a_disk_is_and_its_verdicts_are_read(warm: str, tmp_path: Path) -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)
    shutil.copy(ROOT / "config.yaml", tmp_path)
    alone = planned(plan(warm, tmp_path, dict(os.environ)))
    with bucket() as environment:
        first = plan(warm, tmp_path, environment, *STORAGE)
        assert planned(first) == alone and alone["signal_gate"] == 1 and "budget_gate" not in alone
        assert not (tmp_path / "results").exists()
        tree = read_config(ROOT / "config.yaml", ROOT / "configs/tiny.yaml").model_dump(mode="json")
        for name in set(re.findall(r"/config/([\w.]+)\.json", first)):
            stamp = stamp_path(tmp_path / "results", name)
            write_stamp(tree, name, stamp)
            # Older than what is put into the bucket, which tells whole seconds alone.
            os.utime(stamp, (0, 0))
        server = connect(environment)
        server.create_bucket(Bucket=BUCKET)
        # The ledger reads what Snakemake measured of the fits.
        kept = ("    output: ", "    benchmark: ")
        made = [line for line in first.splitlines() if line.startswith(kept) and "report/" not in line]
        # In the order of the plan, so that none is older than what it is made of.
        files = list(dict.fromkeys(re.findall(rf"s3://{BUCKET}/(vialign/results/\S+)", " ".join(made))))
        assert len(files) > 60
        for file in files:
            server.Object(BUCKET, file if Path(file).suffix else f"{file}/part").put(Body=b"")
        for action, goes_on in (("stop", False), ("go", True)):
            write_table(pd.DataFrame([ROW | {"action": action}]), VERDICT, tmp_path / "verdict.parquet", {})
            verdict = server.Object(BUCKET, "vialign/results/signal/verdict.parquet")
            verdict.upload_file(str(tmp_path / "verdict.parquet"))
            shutil.rmtree(tmp_path / ".snakemake/storage", ignore_errors=True)
            found = planned(plan(warm, tmp_path, environment, *STORAGE))
            assert ("budget_gate" in found) == goes_on and "signal_gate" not in found and "report" in found
