"""What a method needs that no clock measures: numbers it stores, operations and bytes of one call, peak memory."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from spacy.language import Language

Work = Callable[[], object]
"""One thing to measure; what it returns is thrown away."""

FLOAT_BYTES = 4
"""Of a number in single precision."""


@dataclass(frozen=True)
class Counts:
    """Operations and bytes of one call: the same on every machine, however busy it is."""

    products: float = 0
    """Operations of matrix products, convolutions and attention, two a multiply-add."""
    elementwise: float = 0
    """Numbers written by everything else: norms, activations, sums, copies."""
    outside: float = 0
    """Operations of what does not run in torch (a parser)."""
    bytes: float = 0
    """Read and written: every tensor that an operation takes or gives, as if nothing stayed in a cache."""

    @property
    def operations(self) -> float:
        """All of them together."""
        return self.products + self.elementwise + self.outside

    def plus(self, other: "Counts") -> "Counts":
        """The sum, field by field."""
        return Counts(
            self.products + other.products,
            self.elementwise + other.elementwise,
            self.outside + other.outside,
            self.bytes + other.bytes,
        )


def count_parameters(modules: Iterable[nn.Module]) -> int:
    """Parameters of the modules together; a shared one counts once."""
    unique = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(unique.values())


def count_stored(modules: Iterable[nn.Module]) -> int:
    """Real numbers that must be stored to rebuild the modules: parameters and persistent floating-point buffers.

    Buffers count, so that a dictionary kept as a buffer is not free.
    """
    unique: dict[int, int] = {}
    for module in modules:
        for tensor in module.state_dict(keep_vars=True).values():
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                unique[id(tensor)] = tensor.numel()
    return sum(unique.values())


def count_parser(nlp: "Language") -> int:
    """Real numbers that a spaCy pipeline stores: the weights of its components, each once, and its word vectors."""
    return sum(array.size for array in _weights(nlp)) + int(nlp.vocab.vectors.data.size)


def parser_counts(nlp: "Language", lengths: Sequence[int]) -> Counts:
    """Operations and bytes that a spaCy pipeline needs to read texts of so many words each, in one batch.

    spaCy runs outside torch, so they follow from the shapes: a matrix is multiplied once a word, two operations for
    each of its entries, in one product over all words. An encoder with a window reads some empty words too, before,
    between and after the texts. The parser's last matrix is multiplied at every transition: reading n words takes about
    2 n, and the texts of a batch take theirs side by side, so it is read as often as the longest needs. As in torch,
    bytes are the matrix, what goes in and what comes out of each product. Looking up hash tables, norms and extracting
    units are not in it; the clock has them.
    """
    words, longest = sum(lengths), max(lengths, default=0)
    if not words:
        return Counts()
    operations = numbers = 0
    for _, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        if model is None:
            continue
        upper = model.maybe_get_ref("upper") if hasattr(model, "maybe_get_ref") else None
        last = set() if upper is None else {id(node) for node in upper.walk()}
        padded = [outer for outer in model.walk() if "pad" in outer.attrs]
        empty = {id(node): outer.attrs["pad"] for outer in padded for node in outer.walk()}
        for node in model.walk():
            if node.has_param("W") and (matrix := node.get_param("W")).ndim >= 2:
                read = words + empty.get(id(node), 0) * (len(lengths) + 1)
                rows, calls = (2 * words, 2 * longest) if id(node) in last else (read, 1)
                taken = matrix.shape[-1]
                operations += 2 * matrix.size * rows
                numbers += matrix.size * calls + rows * (taken + matrix.size // taken)
    return Counts(outside=float(operations), bytes=float(FLOAT_BYTES * numbers))


def _weights(nlp: "Language") -> list[Any]:
    """The arrays of all components; what several share (the encoder that they listen to) once."""
    unique: dict[int, Any] = {}
    for _, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        for node in [] if model is None else model.walk():
            for name in node.param_names:
                if node.has_param(name):
                    array = node.get_param(name)
                    unique[array.ctypes.data if hasattr(array, "ctypes") else id(array)] = array
    return list(unique.values())


def count_work(work: Work) -> Counts:
    """Operations and bytes of one call.

    Attention's fast path and its fused kernels are switched off while counting, because the counters do not see into
    them. Source of the products: `torch.utils.flop_counter`.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as products, _Traffic() as traffic:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return Counts(float(products.get_total_flops()), float(traffic.elementwise), bytes=float(traffic.bytes))


class _Traffic(TorchDispatchMode):
    """Counts numbers written outside matrix products, and bytes of all operations but views."""

    def __init__(self) -> None:
        super().__init__()
        self.elementwise = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            taken = result if func.overloadpacket in _lookups() else (args, kwargs)
            read = [leaf for leaf in tree_leaves(taken) if isinstance(leaf, torch.Tensor)]
            self.bytes += sum(_bytes(tensor) for tensor in [*read, *written])
            if func.overloadpacket not in flop_registry:
                self.elementwise += sum(tensor.numel() for tensor in written)
        return result


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of memory behind a tensor: a value that is expanded along a dimension lies there once."""
    own = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return math.prod(own) * tensor.element_size() if tensor.numel() else 0


def _lookups() -> frozenset[Any]:
    """Operations that read of a table no more than they give."""
    aten = torch.ops.aten
    return frozenset([aten.embedding, aten.index, aten.index_select, aten.gather])


def _is_view(func: Any) -> bool:
    """Whether an operation only gives another look at the memory of its argument.

    Its schema says so, but for `_unsafe_view`, the end of a product over a batch, which copies nothing either.
    """
    returned = [value.alias_info for value in func._schema.returns]
    views = bool(returned) and all(alias is not None and not alias.is_write for alias in returned)
    return views or func.overloadpacket is torch.ops.aten._unsafe_view


def on_gpu() -> bool:
    """Whether CUDA is in use in this process."""
    return torch.cuda.is_available() and torch.cuda.is_initialized()


def peak_memory(work: Work) -> int:
    """Most bytes of tensors that one call holds at a time, beyond what was there before it.

    From the profiler's record of allocations on the CPU, from the allocator's own counter on a GPU in use.
    """
    if on_gpu():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    # Its logger tells each start and stop on stderr otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    from torch.profiler import ProfilerActivity, profile

    work()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    held = peak = 0
    results = record.profiler.kineto_results
    for event in sorted((e for e in results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
