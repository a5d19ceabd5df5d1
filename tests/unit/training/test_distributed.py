import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import shared_batches
from vialign.distributed import is_first, process_group, processes, spread, sum_gradients
from vialign.files.artifacts import read_tensors

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


@pytest.mark.parametrize("name", ["towers", "vialign"])
def test_two_processes_train_as_one_does(name, both):
    """The batch of 15 does not divide by two, and of the captions only some have a negative."""
    one, two = (read_tensors(folder / f"{name}.safetensors") for folder in both)
    assert one.keys() == two.keys()
    assert len(one["log.loss"]) == 8 and float(one["log.loss"][0]) != float(one["log.loss"][-1])
    for key, expected in one.items():
        torch.testing.assert_close(
            two[key], expected, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}"
        )


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
