"""The ledger: parameters, operations, time and memory of a method, held against a reference.

The rules stand in docs/method.md#5-the-efficiency-budget. It knows only modules and callables, so it measures any pair.
Sizes, operations and bytes are counted and the same on every machine (`vialign.budget.counting`); times are measured so
that a busy machine does not change what they say (`vialign.budget.timing`). A limit has three outcomes: kept, broken,
undecided.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import nn

from vialign.budget.counting import Counts, Work, count_parameters, count_stored, count_work, peak_memory
from vialign.budget.timing import (
    CONTROL_LEVEL,
    Clock,
    Interval,
    Rounds,
    Times,
    control_fault,
    mean_interval,
    outcome_of,
    overhead,
    time_rounds,
)
from vialign.config.methods import BudgetConfig
from vialign.tables.gates import BUDGET


@dataclass(frozen=True)
class Reading:
    """The parser's part of one batch, when it reads a share of the captions."""

    share: float
    work: Work


@dataclass(frozen=True)
class Parser:
    """What a method runs outside torch, where no counter of torch sees it."""

    numbers: int
    """That it stores."""
    readings: Mapping[str, Reading]
    """By name: shares of captions at which the overhead is reported."""
    timed: str
    """The reading that is a part of the subject's `text` and `pair`, and of `step`."""
    text: Counts
    """Of the parser in one call of `text` or `pair`."""
    step: Counts
    """Of the parser in one training step."""


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
    """The text side of one batch, from text; none as above."""
    pair: Work
    """One batch of image-caption pairs, from pixels and text to scores, as it would be deployed."""
    step: Work | None = None
    """One training step, end to end; none for a method without training."""
    unmerged: Work | None = None
    """`pair` with the method's changes beside the backbone's weights, where `pair` has them merged."""
    parser: Parser | None = None
    """None for a method that parses nothing."""


def measure_subjects(
    methods: Sequence[Subject],
    reference: Subject,
    *,
    backbone: str,
    batch: int,
    rounds: int,
    limits: BudgetConfig,
    seed: int,
    clock: Clock | None = None,
    wall: Clock = time.perf_counter,
) -> pd.DataFrame:
    """Every measure of the methods, one row each, method by method, columns as `BUDGET`.

    `reference` is the frozen backbone; its `step` is one step of the same loop with every module removed. All methods
    are timed in the same rounds, beside one reference and its control. Extra parameters are what a method stores beyond
    the reference, its parser included. Operations, bytes, inference seconds and memory are of one sample, training
    seconds of one step. A method (or reference) without `step` has no rows on training, one without sides none on them,
    one without a parser none on shares of captions.

    What is counted is kept or broken; a time is *undecided* too where its interval holds the limit, or where the A/A
    control says that the measurement cannot tell (`reason`). Raises ValueError when a method comes twice.
    """
    tables = {method.method: _Rows(method.method, backbone) for method in methods}
    if len(tables) < len(methods):
        raise ValueError(f"measure_subjects: each method once, not {[method.method for method in methods]}")

    def together(works: Mapping[str, Mapping[str, Work]], rounds: int, base: Work | None = None) -> dict[str, Times]:
        return _time_together(works, rounds, base, seed, clock, wall)

    with torch.no_grad():
        counted = count_work(reference.pair)
        for method in methods:
            rows = tables[method.method]
            _add_sizes(rows, method, reference, limits)
            rows.add("memory_peak", peak_memory(method.pair) / batch, "bytes a sample")
            _add_counts(rows, method, counted, batch, limits)
        inference = together({method.method: _inference_works(method) for method in methods}, rounds, reference.pair)
        sides = together({method.method: _sides(method) for method in methods}, max(3, rounds // 5))
    for method in methods:
        rows, times = tables[method.method], inference[method.method]
        for side, values in sides[method.method].cpu.items():
            rows.add_interval(f"inference_seconds_{side}", mean_interval(values / batch, seed), "CPU seconds a sample")
        _add_times(rows, "inference", times, limits.inference, seed, batch=batch)
        if method.unmerged is not None:
            rows.add_interval("inference_overhead_unmerged", overhead(times.cpu, "unmerged", seed), _BEYOND)
        if method.parser is not None:
            _add_curve(rows, method.parser, times, seed)
    if reference.step is not None:
        steps = {method.method: {"method": method.step} for method in methods if method.step is not None}
        counted = count_work(reference.step) if steps else Counts()
        training = together(steps, rounds, reference.step)
        for method in methods:
            if method.step is None:
                continue
            beside = Counts() if method.parser is None else method.parser.step
            rows = tables[method.method]
            _add_ratios(rows, "training", count_work(method.step).plus(beside), counted, limits.training)
            _add_times(rows, "training", training[method.method], limits.training, seed)
    return pd.concat([rows.frame() for rows in tables.values()], ignore_index=True)


def _time_together(
    works: Mapping[str, Mapping[str, Work]],
    rounds: int,
    base: Work | None,
    seed: int,
    clock: Clock | None,
    wall: Clock,
) -> dict[str, Times]:
    """The works of all methods in the same rounds; for each method its own and, where there is a `base`, that twice."""
    shared = {} if base is None else {"reference": base, "control": base}
    flat = {(method, name): work for method, own in works.items() for name, work in own.items()}
    if not flat:
        return {method: Times({}, {}) for method in works}
    # Of one method the works keep their names, so that progress names them.
    label = {key: key[1] if len(works) == 1 else " ".join(key) for key in flat}
    times = time_rounds({**shared, **{label[key]: work for key, work in flat.items()}}, rounds, seed, clock, wall)

    def of(method: str, seconds: Rounds) -> Rounds:
        own = {name: seconds[label[method, name]] for name in works[method]}
        return {**{name: seconds[name] for name in shared}, **own}

    return {method: Times(of(method, times.cpu), of(method, times.wall)) for method in works}


_BEYOND = "share beyond the reference"


def _add_sizes(rows: "_Rows", method: Subject, reference: Subject, limits: BudgetConfig) -> None:
    total = count_parameters(reference.modules)
    parser = 0 if method.parser is None else method.parser.numbers
    extra = count_stored(method.modules) - count_stored(reference.modules) + parser
    rows.add("parameters_total", count_parameters(method.modules) + parser, "parameters")
    rows.add("parameters_trainable", sum(parameter.numel() for parameter in method.trainable), "parameters")
    if method.parser is not None:
        rows.add("parameters_parser", parser, "parameters")
    rows.add("parameters_extra", extra, "parameters", limit=limits.parameters * total)
    rows.add("parameters_extra_share", extra / total, "share of the backbone", limit=limits.parameters)


def _add_counts(rows: "_Rows", method: Subject, reference: Counts, batch: int, limits: BudgetConfig) -> None:
    beside = Counts() if method.parser is None else method.parser.text
    counts = {side: count_work(work) for side, work in _sides(method).items()}
    counts["pair"] = count_work(method.pair)
    for side, found in counts.items():
        rows.add(f"flops_{side}", found.products / batch, "operations a sample")
    pair = counts["pair"].plus(beside)
    rows.add("elementwise_pair", pair.elementwise / batch, "operations a sample")
    if method.parser is not None:
        rows.add("flops_parser", pair.outside / batch, "operations a sample")
    rows.add("bytes_pair", pair.bytes / batch, "bytes a sample")
    _add_ratios(rows, "inference", pair, reference, limits.inference)


def _add_ratios(rows: "_Rows", stage: str, method: Counts, reference: Counts, limit: float) -> None:
    """Operations and bytes over those of the reference; a reference without any has no ratio."""
    for name, own, other in (
        ("operations", method.operations, reference.operations),
        ("bytes", method.bytes, reference.bytes),
    ):
        if other > 0:
            rows.add(f"{stage}_{name}_overhead", own / other - 1, _BEYOND, limit=limit)


def _sides(method: Subject) -> dict[str, Work]:
    return {side: work for side, work in (("image", method.image), ("text", method.text)) if work is not None}


def _inference_works(method: Subject) -> dict[str, Work]:
    """All of a batch, unmerged too where there is a difference, and the parser's part at every share."""
    works = {"method": method.pair}
    if method.unmerged is not None:
        works["unmerged"] = method.unmerged
    readings = {} if method.parser is None else method.parser.readings
    return works | {f"parser_{name}": reading.work for name, reading in readings.items() if reading.share > 0}


def _add_times(rows: "_Rows", stage: str, times: Times, limit: float, seed: int, batch: int | None = None) -> None:
    """Seconds, the overhead by both clocks, and the A/A control that says whether the overhead counts."""
    per, unit = (batch, "a sample") if batch is not None else (1, "a step")
    rows.add_interval(f"{stage}_seconds", mean_interval(times.cpu["method"] / per, seed), f"CPU seconds {unit}")
    rows.add_interval(f"{stage}_seconds_wall", mean_interval(times.wall["method"] / per, seed), f"seconds {unit}")
    control = overhead(times.cpu, "control", seed, level=CONTROL_LEVEL)
    rows.add_interval(f"{stage}_control", control, _BEYOND)
    found = overhead(times.cpu, "method", seed)
    rows.add_interval(
        f"{stage}_overhead", found, _BEYOND, limit=limit, fault=control_fault(control, len(times.cpu["method"]))
    )
    rows.add_interval(f"{stage}_overhead_wall", overhead(times.wall, "method", seed), _BEYOND)


def _add_curve(rows: "_Rows", parser: Parser, times: Times, seed: int) -> None:
    """The overhead at each share of captions: the measured one, with one reading taken off and another put on."""
    timed = parser.readings[parser.timed]
    for name, reading in parser.readings.items():
        rows.add(f"parser_share_{name}", reading.share, "share of captions")
        same = name == parser.timed
        less = None if same or timed.share == 0 else f"parser_{parser.timed}"
        more = None if same or reading.share == 0 else f"parser_{name}"
        found = overhead(times.cpu, "method", seed, less=less, more=more)
        rows.add_interval(f"inference_overhead_{name}", found, _BEYOND)


@dataclass
class _Rows:
    """Collects the rows of one method."""

    method: str
    backbone: str
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, measure: str, value: float, unit: str, *, limit: float | None = None) -> None:
        """A row of what is counted: no interval, and a limit is kept or broken."""
        outcome = None if limit is None else outcome_of(Interval(value, value, value), limit)
        self._append(measure, value, None, None, unit, limit, outcome, None)

    def add_interval(
        self, measure: str, found: Interval, unit: str, *, limit: float | None = None, fault: str | None = None
    ) -> None:
        """A row of what is measured; with a `fault` of the measurement its limit stays undecided."""
        outcome, reason = None, None
        if limit is not None:
            outcome = "undecided" if fault is not None else outcome_of(found, limit)
            reason = fault if outcome != "undecided" else fault or "the interval holds the limit"
        self._append(measure, found.value, found.low, found.high, unit, limit, outcome, reason)

    def frame(self) -> pd.DataFrame:
        """The rows, columns as `BUDGET`."""
        frame = pd.DataFrame(self.rows, columns=list(BUDGET.columns))
        for name in ("value", "low", "high", "limit"):
            frame[name] = frame[name].astype(float)
        return frame

    def _append(self, measure: str, value: float, *rest: object) -> None:
        names = ("low", "high", "unit", "limit", "outcome", "reason")
        row = {"method": self.method, "backbone": self.backbone, "measure": measure, "value": float(value)}
        self.rows.append({**row, **dict(zip(names, rest, strict=True))})
