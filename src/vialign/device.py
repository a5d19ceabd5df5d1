"""Where tensors are and in which number format they are computed: `backbone.device` and `backbone.precision`, resolved.

A stage asks for its device once and moves its modules there; whatever they are given comes to them. What is drawn is
drawn on the CPU and moved, so that it is the same everywhere.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vialign.errors import UserError

if TYPE_CHECKING:
    from vialign.config.experiment import Config

CPU = torch.device("cpu")
_HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(config: "Config") -> torch.device:
    """The configured device; of several processes on a machine each has the GPU of its own number.

    On CUDA float32 is then float32, without the shorter mantissa of TF32. Raises UserError where there is no such
    device, or not one for each process.
    """
    wanted = config.backbone.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise UserError("backbone.device: torch finds no MPS here; set it to cpu or auto")
    return _own_gpu() if wanted == "cuda" else torch.device(wanted)


def _own_gpu() -> torch.device:
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if not there:
        raise UserError("backbone.device: torch finds no CUDA device here; set it to cpu or auto")
    if number >= there:
        raise UserError(
            f"training.processes: more processes on one machine than its GPUs, of which there are {there}; lower it, "
            "or set backbone.device to cpu"
        )
    # Read when cuBLAS starts: without it its sums are not the same from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.allow_tf32 = False
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; on its way to a GPU it is pinned, so that nobody waits for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True, eq=False)
class OnDevice:
    """What is read by position, and comes to a device when it is: `rows[index]`."""

    held: Any
    """A tensor, or rows of a file; `index` are positions on the CPU."""
    device: torch.device

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: Tensor) -> Tensor:
        return to_device(self.held[index], self.device)

    def expect(self, index: Tensor) -> None:
        """Say what will be read next, to what can prepare for it."""
        if hasattr(self.held, "expect"):
            self.held.expect(index)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Matrix products and convolutions in `backbone.precision`; nothing is changed where that is float32."""
    return torch.autocast(device.type, dtype=_HALF[precision]) if precision in _HALF else nullcontext()


@contextmanager
def within_memory(keys: str, remedy: str = "lower it") -> Iterator[None]:
    """Raises UserError that names the config `keys` to change where a GPU's memory does not suffice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = ". ".join(str(error).split(". ")[:2])
        raise UserError(f"{keys}: too much for the memory of the GPU ({reason}); {remedy}") from error
