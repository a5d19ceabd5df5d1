"""Tensors that come in blocks, gathered in an unnamed file that is mapped: memory holds what fits, the disk the rest.

For what one job makes and reads again, in the precision that it is made in. Small ones stay in memory. The files lie
where the system keeps temporary ones (`TMPDIR`), which should be a disk: where it is memory itself, nothing is gained.
"""

import math
import os
import tempfile
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vialign.files.artifacts import writing

SMALL = 1 << 22
"""Bytes up to which a tensor is held in memory."""


def gathered(blocks: Iterable[Mapping[str, Tensor]], rows: int) -> dict[str, Tensor]:
    """The rows of all blocks, in order, by name; every block has the same names, types and sizes of a row.

    The result lies on the CPU and carries no gradient; it is empty where there is no block. Raises ValueError when the
    blocks do not add up to `rows` rows, UserError where there is no room for them.
    """
    whole: dict[str, Tensor] = {}
    end = 0
    for block in blocks:
        if not whole:
            whole = {name: _place((rows, *part.shape[1:]), part.dtype) for name, part in block.items()}
        start, end = end, end + len(next(iter(block.values())))
        if end > rows:
            break
        for name, part in block.items():
            whole[name][start:end] = part.detach()
    if end != rows:
        raise ValueError(f"blocks hold {end} rows or more, expected {rows}")
    return whole


def _place(shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """Room for a tensor: in memory where it is small, else in a file that goes with the last tensor that reads it."""
    count = math.prod(shape)
    size = count * kind.itemsize
    if size <= SMALL:
        return torch.empty(shape, dtype=kind)
    folder = tempfile.gettempdir()
    with writing(folder), tempfile.NamedTemporaryFile(dir=folder, prefix="vialign-") as file:
        # A disk that is too small says so now; written through the map it would end the process without a word.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        return torch.from_file(file.name, shared=True, size=count, dtype=kind).view(shape)
