"""Times that a busy machine neither shifts nor widens: CPU time of one thread in many short rounds, beside a control.

Each round runs every work back to back in an order drawn by seed, so that slow drift of the machine hits all alike. The
reference takes part twice: how much its two copies differ (the A/A control) is what the measurement itself cannot tell.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from vialign.budget.counting import Work, on_gpu
from vialign.progress import track
from vialign.random import generator

Clock = Callable[[], float]
Outcome = Literal["kept", "broken", "undecided"]
Rounds = Mapping[str, Float[np.ndarray, "round"]]
"""Seconds of each work, round by round."""

WARM_UP = 2
"""Rounds that run before the first one counts: caches, allocators and lazy kernels."""
RESAMPLES = 2000
"""Of the rounds, behind every interval."""
FEWEST_ROUNDS = 50
"""With fewer no time decides."""
SHOWN = 6
"""Works that progress names, at most."""
CONTROL_WIDTH = 0.03
"""Widest interval of the A/A control with which a time is taken for an answer."""
CONTROL_LEVEL = 0.01
"""1 minus the coverage of that interval. It must hold zero, which an interval of 95 % fails to do by chance once in
twenty quiet measurements."""


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float

    def less(self, amount: float) -> "Interval":
        """All three less `amount`."""
        return Interval(self.value - amount, self.low - amount, self.high - amount)


@dataclass(frozen=True)
class Times:
    """Rounds by two clocks."""

    cpu: Rounds
    """CPU time of the thread that runs the works: what other programs take does not count. On a GPU in use the time
    between two events of its own clock."""
    wall: Rounds
    """What passes meanwhile."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Everything numeric on one thread, as `thread_time` needs: torch, and the linear algebra of numpy."""
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def time_rounds(
    works: Mapping[str, Work], rounds: int, seed: int, clock: Clock | None = None, wall: Clock = time.perf_counter
) -> Times:
    """Seconds of every work in each of `rounds` rounds; a round runs all of them in an order drawn by seed.

    `clock` is CPU time of this thread unless given; where CUDA is in use, whose time that clock does not see, events
    are recorded before and after each work. The garbage collector rests meanwhile, as in `timeit`.
    """
    timed = _by_events if clock is None and on_gpu() else _by_clock(time.thread_time if clock is None else clock)
    orders = generator(seed, "budget", "order")
    names = list(works)
    seconds = {name: np.zeros(rounds) for name in names}
    passed = {name: np.zeros(rounds) for name in names}
    collecting = gc.isenabled()
    with one_thread():
        for _ in range(WARM_UP):
            for name in names:
                works[name]()
        gc.collect()
        gc.disable()
        try:
            shown = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} works in turn"
            for number in track(range(rounds), f"time {shown}"):
                for place in orders.permutation(len(names)):
                    name = names[place]
                    started = wall()
                    seconds[name][number] = timed(works[name])
                    passed[name][number] = wall() - started
        finally:
            if collecting:
                gc.enable()
    return Times(seconds, passed)


def quiet_mean(seconds: Float[np.ndarray, "*draw round"]) -> Float[np.ndarray, "*draw"]:
    """Mean of the faster half of the rounds, along the last axis.

    Whatever disturbs a round makes it slower, never faster, so the slower half may be disturbed at will. The mean of a
    half varies less than a single low quantile or the minimum.
    """
    half = max(1, seconds.shape[-1] // 2)
    return np.asarray(np.sort(seconds, axis=-1)[..., :half].mean(axis=-1))


def mean_interval(seconds: Float[np.ndarray, "round"], seed: int, level: float = 0.05) -> Interval:
    """`quiet_mean` with its percentile bootstrap interval over rounds."""
    drawn = quiet_mean(seconds[_draws(len(seconds), seed)])
    return Interval(float(quiet_mean(seconds)), *_ends(drawn, level))


def overhead(
    rounds: Rounds, method: str, seed: int, *, less: str | None = None, more: str | None = None, level: float = 0.05
) -> Interval:
    """How much longer the work `method` takes than `reference`, as a share: ratio of their `quiet_mean` less 1.

    `less` and `more` name works whose time is taken off the method's and put on it. The interval resamples whole
    rounds, so that what hits all works of a round at once cancels.
    """
    draws = _draws(len(rounds[method]), seed)

    def ratio(rows: Int[np.ndarray, "*draw round"]) -> np.ndarray:
        total = quiet_mean(rounds[method][rows])
        if less is not None:
            total = total - quiet_mean(rounds[less][rows])
        if more is not None:
            total = total + quiet_mean(rounds[more][rows])
        return np.asarray(total / quiet_mean(rounds["reference"][rows]) - 1)

    return Interval(float(ratio(np.arange(len(rounds[method])))), *_ends(ratio(draws), level))


def control_fault(control: Interval, rounds: int) -> str | None:
    """Why a measurement with this A/A control (of `CONTROL_LEVEL`) decides nothing; None where it may decide."""
    if rounds < FEWEST_ROUNDS:
        return f"{rounds} rounds are too few to tell; budget.rounds must be {FEWEST_ROUNDS} at least"
    if not np.isfinite([control.low, control.high]).all():
        return "the clock is too coarse for the work"
    shown = f"the reference against itself: {100 * control.value:+.1f} % [{100 * control.low:+.1f}, "
    shown += f"{100 * control.high:+.1f}]"
    if control.high - control.low > CONTROL_WIDTH:
        return f"the machine is too restless ({shown}, wider than {100 * CONTROL_WIDTH:g} points)"
    if not control.low <= 0 <= control.high:
        return f"the machine favours one copy of the same work ({shown}, which leaves out zero)"
    return None


def outcome_of(found: Interval, limit: float) -> Outcome:
    """What an interval says of a limit: *kept* when it lies under it, *broken* when it lies above it.

    A value that is counted has both ends where it stands, and is *broken* at the limit itself: the rule says under.
    """
    if found.high < limit:
        return "kept"
    exact = found.low == found.high
    return "broken" if found.low > limit or exact else "undecided"


def _draws(rounds: int, seed: int) -> Int[np.ndarray, "draw round"]:
    return generator(seed, "budget", "bootstrap").integers(rounds, size=(RESAMPLES, rounds))


def _ends(drawn: Float[np.ndarray, "draw"], level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    return float(low), float(high)


def _by_clock(clock: Clock) -> Callable[[Work], float]:
    def timed(work: Work) -> float:
        start = clock()
        work()
        return clock() - start

    return timed


def _by_events(work: Work) -> float:
    """Seconds on the GPU from what is done before the work to its end, the time that it waits for the CPU included."""
    torch.cuda.synchronize()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
