"""Blocks gathered in files that are mapped."""

import tempfile
from pathlib import Path

import pytest
import torch

from unit.training.test_inputs import own_memory
from vialign.errors import UserError
from vialign.files import mapped
from vialign.files.mapped import gathered


def blocks(sizes, kind=torch.float32):
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        yield {"wide": torch.randn(size, 3, 4, generator=generator).to(kind), "flat": torch.arange(size) + size}


@pytest.mark.parametrize("small", [0, 1 << 22])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.bool])
def test_the_whole_is_the_blocks_one_below_the_other(monkeypatch, small, kind):
    monkeypatch.setattr(mapped, "SMALL", small)
    sizes = [3, 1, 5]
    whole = gathered(blocks(sizes, kind), 9)
    expected = list(blocks(sizes, kind))
    for name in ("wide", "flat"):
        together = torch.cat([block[name] for block in expected])
        assert whole[name].dtype == together.dtype and torch.equal(whole[name], together)


def test_what_is_large_is_not_memory_of_the_process_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = own_memory()
    whole = gathered(({"a": torch.full((10, 100_000), float(number))} for number in range(16)), 160)
    assert own_memory() - before < 16e6 < whole["a"].nbytes
    assert not list(tmp_path.iterdir())
    assert whole["a"][:, -1].tolist() == [float(number) for number in range(16) for _ in range(10)]


def test_a_gradient_is_not_carried(monkeypatch):
    monkeypatch.setattr(mapped, "SMALL", 0)
    whole = gathered([{"a": torch.ones(2, requires_grad=True) * 3}], 2)
    assert not whole["a"].requires_grad and whole["a"].tolist() == [3, 3]


def test_nothing_is_gathered_of_nothing():
    assert gathered([], 0) == {}


@pytest.mark.parametrize("rows", [7, 8, 10])
def test_blocks_that_do_not_add_up_are_refused(rows):
    with pytest.raises(ValueError, match=f"expected {rows}"):
        gathered(blocks([3, 6]), rows)


def test_a_full_disk_is_one_line(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mapped, "SMALL", 0)
    monkeypatch.setattr(mapped.os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match=f"{Path(tempfile.gettempdir())}: cannot be written"):
        gathered(blocks([2]), 2)
