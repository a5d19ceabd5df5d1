"""One comparison: the same result by two ways or more, timed in turns in one process."""

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vialign.budget import overhead, time_rounds
from vialign.budget.counting import Work

SEED = 0


@dataclass(frozen=True)
class Rival:
    """What a user would take instead."""

    work: Work
    difference: Callable[[], float]
    """Largest difference between its result and ours."""
    allowed: float
    """The same result: differences up to here are rounding."""
    goal: float | None = None
    """How many times faster ours is meant to be."""


@dataclass(frozen=True)
class Comparison:
    """Our way, and the others."""

    what: str
    ours: Work
    rivals: Mapping[str, Rival]
    rounds: int


@dataclass(frozen=True)
class Measured:
    """A row of the table. Ratios are theirs over ours, with the ends of their 95 % intervals."""

    what: str
    rival: str
    ours: float
    """Seconds of CPU time of our way, over all threads and worker processes."""
    ratio: tuple[float, float, float]
    """By CPU time."""
    wall: tuple[float, float, float]
    """By the clock."""
    difference: float
    rounds: int
    goal: float | None


def spent() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(comparison: Comparison, rounds: int | None = None) -> list[Measured]:
    """All rows, of `rounds` rounds where given. Raises ValueError where a rival computes something else."""
    found = {name: rival.difference() for name, rival in comparison.rivals.items()}
    for name, difference in found.items():
        if not difference <= comparison.rivals[name].allowed:
            raise ValueError(f"{comparison.what}: {name} differs by {difference:.1e}; it computes something else")
    works = {"reference": comparison.ours} | {name: rival.work for name, rival in comparison.rivals.items()}
    times = time_rounds(works, rounds or comparison.rounds, SEED, clock=spent)
    rows = []
    for name, rival in comparison.rivals.items():
        by_cpu, by_clock = (overhead(clock, name, SEED) for clock in (times.cpu, times.wall))
        ratio, wall = ((1 + part.value, 1 + part.low, 1 + part.high) for part in (by_cpu, by_clock))
        ours = float(times.cpu["reference"].mean())
        rows.append(
            Measured(comparison.what, name, ours, ratio, wall, found[name], rounds or comparison.rounds, rival.goal)
        )
    return rows
