"""Where tensors are: what the configuration says, what a rule may read of it, and what is moved."""

import sys
from dataclasses import fields, replace
from unittest.mock import MagicMock

import pytest
import torch

from vialign.analysis import confirm_job, early_job
from vialign.config.experiment import Config, load_config
from vialign.config.sections import WHERE, Reads, UndeclaredSection, guarded, section_digests
from vialign.device import CPU, OnDevice, autocast, device_of, to_device, within_memory
from vialign.disentangle import encode_job
from vialign.errors import UserError
from vialign.signal import calibration_job, controls_job, pairs_job
from vialign.signal.validation import stress_job
from vialign.stage import Run

META = torch.device("meta")


def on(device):
    return load_config({"backbone": {"device": device}})


@pytest.fixture
def gpus(monkeypatch):
    """As if the machine had so many; gives the numbers of those that were chosen."""
    chosen = []

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
        return chosen

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    return pretend


def test_without_a_gpu_auto_is_the_cpu(gpus):
    gpus(0)
    assert device_of(Config()) == device_of(on("cpu")) == CPU


def test_with_gpus_auto_is_the_one_of_the_process_and_float32_is_float32(gpus, monkeypatch):
    chosen = gpus(2)
    assert device_of(Config()) == device_of(on("cuda")) == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of(Config()) == torch.device("cuda", 1)
    assert chosen == [0, 0, 1] and torch.backends.cudnn.allow_tf32 is False
    assert device_of(on("cpu")) == CPU and chosen == [0, 0, 1]


@pytest.mark.parametrize(
    ("device", "there", "rank", "message"),
    [
        ("cuda", 0, "0", "^backbone.device: torch finds no CUDA device here; set it to cpu or auto$"),
        ("mps", 0, "0", "^backbone.device: torch finds no MPS here; set it to cpu or auto$"),
        ("auto", 2, "2", "^training.processes: more processes on one machine than its GPUs, of which there are 2; "),
    ],
)
def test_a_device_that_is_not_there_is_one_line(device, there, rank, message, gpus, monkeypatch):
    gpus(there)
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        device_of(on(device))


def test_every_rule_may_read_where_and_none_runs_again_for_it():
    for names in ((), ("signal",), ("backbone.precision",), ("backbone",), tuple(Config.model_fields)):
        reads = Reads("encode_split", names)
        assert guarded(on("cpu"), reads).backbone.device == "cpu", names
        assert WHERE not in reads.seen
    view = guarded(on("cpu"), Reads("encode_split", ()))
    with pytest.raises(UndeclaredSection, match="read `backbone.precision` of the configuration"):
        _ = view.backbone.precision
    before = section_digests(on("cpu").model_dump(mode="json"), "backbone")
    assert section_digests(on("cuda").model_dump(mode="json"), "backbone") == before
    other = load_config({"backbone": {"precision": "bfloat16"}}).model_dump(mode="json")
    assert section_digests(other, "backbone") != before


def test_what_is_read_by_position_comes_to_the_device():
    told = []

    class Held:
        expect = staticmethod(told.append)

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.arange(3.0)[index]

    rows, index = OnDevice(Held(), META), torch.tensor([2, 0])
    rows.expect(index)
    assert len(rows) == 3 and told == [index]
    assert rows[index].device == META and rows[index].shape == (2,)
    OnDevice(torch.zeros(1), META).expect(index)
    assert OnDevice(Held(), CPU)[index].tolist() == [2.0, 0.0]


def test_a_tensor_that_is_there_already_is_not_copied():
    tensor = torch.zeros(2)
    assert to_device(tensor, CPU) is tensor


@pytest.mark.parametrize(
    ("precision", "kind"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16")]
)
def test_products_are_in_the_precision_that_is_asked_for(precision, kind):
    with autocast(CPU, precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, kind) and product.tolist() == [[2, 2], [2, 2]]


def test_a_gpu_whose_memory_is_too_small_is_one_line_that_names_the_key():
    said = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
    message = "^training.batch: too much for the memory of the GPU .CUDA out of memory. Tried .* GiB.; lower it$"
    with pytest.raises(UserError, match=message) as raised, within_memory("training.batch"):
        raise torch.OutOfMemoryError(said)
    assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)
    with pytest.raises(RuntimeError, match="a bug"), within_memory("training.batch"):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("job", "step", "keys"),
    [
        (calibration_job.fit_maps, "device_of", "data.sizes"),
        (pairs_job.score_diagnosed, "device_of", "data.sizes"),
        (controls_job.score_controls, "device_of", "data.sizes"),
        (stress_job.stress_signal, "device_of", "signal.stress_images"),
        (encode_job.encode_split, "device_of", "backbone.device"),
        (early_job.measure_early, "checkpoint_outcomes", "data.sizes"),
        (confirm_job.confirm, "checkpoint_outcomes", "evaluation.gallery_batch"),
    ],
)
def test_a_job_whose_gpu_is_too_small_names_the_key(job, step, keys, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(sys.modules[job.__module__], step, full)
    with pytest.raises(UserError, match=f"^{keys}: too much for the memory of the GPU"):
        job(replace(Run(*[MagicMock()] * len(fields(Run))), config=Config()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_tensor_comes_to_a_gpu_through_pinned_memory_unchanged():
    tensor = torch.arange(1000.0)
    there = to_device(tensor, device_of(on("cuda")))
    assert there.device.type == "cuda" and torch.equal(there.cpu(), tensor)
