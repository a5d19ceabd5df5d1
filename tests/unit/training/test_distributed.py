import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import shared_batches
import two_nodes
from vialign.distributed import is_first, process_group, processes, spread, sum_gradients
from vialign.errors import UserError
from vialign.files.artifacts import read_tensors
from vialign.training.job import launch

SCRIPT = Path(shared_batches.__file__)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folders of the same trainings in this process and in two of torchrun."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    shared_batches.main(one)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, str(SCRIPT), str(two)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return one, two


def assert_same_weights(one, two, name):
    """The batch of 15 does not divide by two, and of the captions only some have a negative."""
    one, two = (read_tensors(folder / f"{name}.safetensors") for folder in (one, two))
    assert one.keys() == two.keys()
    assert len(one["log.loss"]) == 8 and float(one["log.loss"][0]) != float(one["log.loss"][-1])
    for key, expected in one.items():
        torch.testing.assert_close(
            two[key], expected, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("name", ["towers", "vialign"])
def test_two_processes_train_as_one_does(name, both):
    assert_same_weights(*both, name)


def test_two_nodes_train_as_one_process_does(both, tmp_path, monkeypatch):
    """By the very command that a training is spread with, which reads its script in the place of a job."""
    reason = two_nodes.missing()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(socket, "gethostname", lambda: "node0")
    with two_nodes.two_nodes(tmp_path) as nodes:
        *command, _, _, _ = launch(2, 1, 1, tmp_path / "job.json")
        done = subprocess.run([*command, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert min(two_nodes.received(nodes)) > 10_000
    for name in ("towers", "vialign"):
        assert_same_weights(both[0], tmp_path, name)


def test_several_nodes_are_those_of_a_job_of_slurm(tmp_path, monkeypatch):
    assert "srun" not in launch(1, 2, 2, tmp_path / "job.json")
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    command = launch(3, 2, 4, tmp_path / "job.json")
    assert command[:7] == ["srun", "--nodes", "3", "--ntasks-per-node", "1", "--cpus-per-task", "4"]
    assert command[command.index("--nnodes") + 1] == "3" and command[command.index("--nproc-per-node") + 1] == "2"
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(UserError, match="training.nodes: 3 nodes share a training only in a job of SLURM"):
        launch(3, 2, 4, tmp_path / "job.json")


def test_without_torchrun_everything_is_the_plain_call():
    with process_group():
        assert processes() == 1 and is_first()
        index = torch.tensor([4, 1, 1])
        seen = []
        side = spread(lambda part: seen.append(part) or {"pooled": part * 2}, index)
        assert seen[0] is index and side["pooled"].tolist() == [8, 2, 2]
        weight = torch.nn.Parameter(torch.ones(2))
        weight.grad = torch.tensor([1.0, 3.0])
        sum_gradients([weight])
        assert weight.grad.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("device", "asked"),
    [
        (torch.device("cpu"), (("gloo",), {})),
        (torch.device("cuda", 1), (("nccl",), {"device_id": torch.device("cuda", 1)})),
    ],
)
def test_processes_with_gpus_talk_through_nccl_and_others_through_gloo(device, asked, monkeypatch):
    calls = []
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", lambda *given, **named: calls.append((given, named)))
    for name in ("barrier", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda: None)
    with process_group(device):
        assert calls == [asked]
