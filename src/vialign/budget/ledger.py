"""The ledger: parameters, operations, time and memory of a method, held against a reference (method.md, section 4).

It knows only modules and callables, so it measures any pair. Times are interleaved measurements in one process: each
round runs reference and method back to back in an order drawn by seed, so that slow drift of the machine hits both.
"""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import nn

from vialign.config import BudgetConfig
from vialign.progress import track
from vialign.random import generator
from vialign.tables import BUDGET

Work = Callable[[], object]
"""One thing to measure; what it returns is thrown away."""

WARM_UP = 2
"""Rounds that run before the first one counts: caches, allocators and lazy kernels."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Overhead:
    """How much longer one thing takes than another."""

    ratio: float
    """Median over rounds of method time / reference time."""
    low: float
    """Lower end of its 95 % bootstrap interval over rounds."""
    high: float
    """Upper end of its 95 % bootstrap interval over rounds."""


@dataclass(frozen=True)
class Subject:
    """One method at one backbone, as the ledger sees it."""

    method: str
    modules: tuple[nn.Module, ...]
    """All that it needs at inference: backbone, disentanglers, its own modules. What is shared counts once."""
    trainable: tuple[nn.Parameter, ...]
    """What training changes; empty for a frozen method."""
    image: Work | None
    """The image side of one batch, from pixels; none where there are no sides to tell apart."""
    text: Work | None
    """The text side of one batch, from token ids; none as above."""
    pair: Work
    """One batch of image-caption pairs, from pixels and token ids to scores."""
    step: Work | None = None
    """One training step, end to end; none for a method without training."""


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


def count_flops(work: Work) -> int:
    """Floating-point operations of the matrix products, convolutions and attention in one call, two a multiply-add.

    Attention's fast path and its fused kernels are switched off while counting, because the counter does not see into
    them. Source: `torch.utils.flop_counter`.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return int(counter.get_total_flops())


def peak_memory(work: Work) -> int:
    """Most bytes of tensors that one call holds at a time, beyond what was there before it.

    From the profiler's record of allocations on the CPU, from the allocator's own counter on a GPU in use.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
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


def time_rounds(
    works: Mapping[str, Work], repeats: int, seed: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Float[np.ndarray, "round"]]:
    """Seconds of every work in each of `repeats` rounds; a round runs all of them in an order drawn by seed.

    The garbage collector rests meanwhile, as in `timeit`.
    """
    orders = generator(seed, "budget", "order")
    names = list(works)
    seconds = {name: np.zeros(repeats) for name in names}
    for _ in range(WARM_UP):
        for name in names:
            works[name]()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for round_number in track(range(repeats), f"time {', '.join(names)}"):
            for place in orders.permutation(len(names)):
                name = names[place]
                _synchronise()
                start = clock()
                works[name]()
                _synchronise()
                seconds[name][round_number] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return seconds


def time_until_decided(
    works: Mapping[str, Work],
    limit: float,
    repeats: int,
    seed: int,
    *,
    looks: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, Float[np.ndarray, "round"]], Overhead]:
    """Rounds of the works `reference` and `method`, and the overhead that they give.

    While the interval holds `1 + limit`, `repeats` more rounds are run, `looks` times in all: a machine that is busy
    for a moment costs time, not the verdict. Each look has the error of its interval, so a method exactly at the limit
    is called kept in at most `looks` times 2.5 % of all measurements.
    """
    seconds = time_rounds(works, repeats, seed, clock)
    for look in range(1, looks + 1):
        overhead = ratio_interval(seconds["reference"], seconds["method"], seed)
        if look == looks or not overhead.low <= 1 + limit <= overhead.high:
            break
        more = time_rounds(works, repeats, seed + look, clock)
        seconds = {name: np.concatenate([seconds[name], more[name]]) for name in seconds}
    return seconds, overhead


def ratio_interval(
    reference: Float[np.ndarray, "round"], method: Float[np.ndarray, "round"], seed: int, resamples: int = RESAMPLES
) -> Overhead:
    """Median of the rounds' time ratios with its 95 % percentile bootstrap interval; rounds are resampled as pairs."""
    return Overhead(*_median_interval(method / reference, seed, resamples))


def measure_overhead(
    baseline: Work, method: Work, repeats: int, seed: int, clock: Callable[[], float] = time.perf_counter
) -> Overhead:
    """How much longer `method` takes than `baseline`, measured in turns in this process."""
    seconds = time_rounds({"baseline": baseline, "method": method}, repeats, seed, clock)
    return ratio_interval(seconds["baseline"], seconds["method"], seed)


def measure_subject(
    method: Subject,
    reference: Subject,
    *,
    backbone: str,
    batch: int,
    repeats: int,
    limits: BudgetConfig,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Every measure of `method`, one row each, columns as `BUDGET`.

    `reference` is the frozen backbone; its `step` is one step of the same loop with every module removed. Extra
    parameters are what `method` stores beyond the reference. Operations, inference seconds and memory are of one
    sample, training seconds of one step. A method (or reference) without `step` has no rows on training, one without
    sides none on them.
    An overhead that `repeats` rounds do not decide gets more (`time_until_decided`). A limit is kept when the
    interval's upper end is strictly under it.
    """
    rows = _Rows(method.method, backbone)
    total = count_parameters(reference.modules)
    extra = count_stored(method.modules) - count_stored(reference.modules)
    rows.add("parameters_total", count_parameters(method.modules), "parameters")
    rows.add("parameters_trainable", sum(parameter.numel() for parameter in method.trainable), "parameters")
    rows.add("parameters_extra", extra, "parameters", limit=limits.parameters * total)
    rows.add("parameters_extra_share", extra / total, "share of the backbone", limit=limits.parameters)
    sides = {side: work for side, work in (("image", method.image), ("text", method.text)) if work is not None}
    for side, work in {**sides, "pair": method.pair}.items():
        with torch.no_grad():
            rows.add(f"flops_{side}", count_flops(work) / batch, "operations a sample")
    with torch.no_grad():
        rows.add("memory_peak", peak_memory(method.pair) / batch, "bytes a sample")
        works = {"reference": reference.pair, "method": method.pair}
        seconds, overhead = time_until_decided(works, limits.inference, repeats, seed, looks=limits.looks, clock=clock)
        apart = time_rounds(sides, repeats, seed, clock) if sides else {}
    rows.add_seconds("inference_seconds", seconds["method"] / batch, "seconds a sample", seed)
    for side, values in apart.items():
        rows.add_seconds(f"inference_seconds_{side}", values / batch, "seconds a sample", seed)
    rows.add_overhead("inference_overhead", overhead, limits.inference)
    if method.step is not None and reference.step is not None:
        works = {"reference": reference.step, "method": method.step}
        seconds, overhead = time_until_decided(works, limits.training, repeats, seed, looks=limits.looks, clock=clock)
        rows.add_seconds("training_seconds", seconds["method"], "seconds a step", seed)
        rows.add_overhead("training_overhead", overhead, limits.training)
    return rows.frame()


class _Rows:
    """Collects the rows of one method."""

    def __init__(self, method: str, backbone: str) -> None:
        self.method, self.backbone = method, backbone
        self._rows: list[dict[str, object]] = []

    def add(
        self,
        measure: str,
        value: float,
        unit: str,
        *,
        low: float | None = None,
        high: float | None = None,
        limit: float | None = None,
    ) -> None:
        upper = value if high is None else high
        self._rows.append(
            {
                "method": self.method,
                "backbone": self.backbone,
                "measure": measure,
                "value": float(value),
                "low": low,
                "high": high,
                "unit": unit,
                "limit": limit,
                "kept": None if limit is None else bool(upper < limit),
            }
        )

    def add_seconds(self, measure: str, seconds: Float[np.ndarray, "round"], unit: str, seed: int) -> None:
        value, low, high = _median_interval(seconds, seed, RESAMPLES)
        self.add(measure, value, unit, low=low, high=high)

    def add_overhead(self, measure: str, overhead: Overhead, limit: float) -> None:
        value, low, high = overhead.ratio - 1, overhead.low - 1, overhead.high - 1
        self.add(measure, value, "share beyond the reference", low=low, high=high, limit=limit)

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self._rows, columns=list(BUDGET.columns))
        for name in ("value", "low", "high", "limit"):
            frame[name] = frame[name].astype(float)
        return frame


def _median_interval(values: Float[np.ndarray, "round"], seed: int, resamples: int) -> tuple[float, float, float]:
    """Median and its 95 % percentile bootstrap interval."""
    draws = generator(seed, "budget", "bootstrap").integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(np.median(values[draws], axis=1), [0.025, 0.975])
    return float(np.median(values)), float(low), float(high)


def _synchronise() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
