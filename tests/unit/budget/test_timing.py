import gc

import numpy as np
import pytest

from fake_clock import FakeClock
from vialign.budget import timing
from vialign.budget.timing import (
    CONTROL_LEVEL,
    CONTROL_WIDTH,
    RESAMPLES,
    WARM_UP,
    Interval,
    control_fault,
    mean_interval,
    outcome_of,
    overhead,
    quiet_mean,
    time_rounds,
)


def test_interleaving_gives_every_work_every_round_in_a_seeded_order():
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        time_rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 40, seed)
        return calls

    calls = order(0)
    rounds = [calls[start : start + 2] for start in range(0, len(calls), 2)]
    assert len(rounds) == 40 + WARM_UP
    assert all(sorted(pair) == ["a", "b"] for pair in rounds)
    assert {tuple(pair) for pair in rounds[WARM_UP:]} == {("a", "b"), ("b", "a")}
    assert order(0) == calls != order(1)


def test_the_garbage_collector_rests_and_comes_back():
    states: list[bool] = []
    time_rounds({"a": lambda: states.append(gc.isenabled())}, 3, 0)
    assert states[WARM_UP:] == [False] * 3
    assert gc.isenabled()


def rounds_of(rng, count, spread=0.002):
    """Rounds of one work that takes a second, give or take."""
    return 1 + spread * np.abs(rng.normal(size=count))


def test_a_constant_overhead_is_found_exactly():
    clock = FakeClock()
    works = {"reference": clock.work(2.0), "method": clock.work(2.5)}
    times = time_rounds(works, 9, seed=0, clock=clock, wall=clock)
    assert overhead(times.cpu, "method", seed=0) == Interval(0.25, 0.25, 0.25)
    assert times.wall["method"].tolist() == [2.5] * 9


def test_where_cuda_is_in_use_its_events_are_the_clock(monkeypatch):
    gpu, wall = FakeClock(), FakeClock()

    class Event:
        """Knows when it was recorded, in milliseconds; only what is done can be asked."""

        def __init__(self, enable_timing):
            self.at, self.done = None, not enable_timing

        def record(self):
            self.at = 1000 * gpu.now

        def synchronize(self):
            self.done = True

        def elapsed_time(self, end):
            assert end.done
            return end.at - self.at

    monkeypatch.setattr(timing, "on_gpu", lambda: True)
    monkeypatch.setattr(timing.torch.cuda, "Event", Event)
    monkeypatch.setattr(timing.torch.cuda, "synchronize", lambda: None)
    works = {"reference": gpu.work(2.0), "method": gpu.work(2.5)}
    times = time_rounds(works, 9, seed=0, wall=wall)
    assert times.cpu["reference"].tolist() == [2.0] * 9 and times.cpu["method"].tolist() == [2.5] * 9
    assert times.wall["method"].tolist() == [0.0] * 9


def test_the_mean_of_the_faster_half_by_hand():
    assert quiet_mean(np.array([4.0, 1.0, 3.0, 2.0, 9.0])) == 1.5
    assert quiet_mean(np.array([[4.0, 1.0], [3.0, 5.0]])).tolist() == [1.0, 3.0]
    assert quiet_mean(np.array([7.0])) == 7.0


@pytest.mark.parametrize("hit", ["method", "reference", "both"])
def test_rounds_that_are_disturbed_shift_nothing(hit):
    """Other programs only ever make a round slower: up to almost half of them may, whichever work they meet."""
    rng = np.random.default_rng(0)
    rounds = {"reference": rounds_of(rng, 60), "method": 1.05 * rounds_of(rng, 60)}
    quiet = overhead(rounds, "method", seed=0)
    for name in rounds:
        if hit in (name, "both"):
            rounds[name] = rounds[name] + np.where(rng.random(60) < 0.4, rng.exponential(0.5, 60), 0)
    disturbed = overhead(rounds, "method", seed=0)
    assert abs(disturbed.value - quiet.value) < 0.002
    assert disturbed.high - disturbed.low < 0.01
    # The same rounds, averaged: a control that must fail.
    assert hit == "both" or abs(rounds["method"].mean() / rounds["reference"].mean() - 1.05) > 0.05


def test_drift_of_the_machine_hits_all_works_alike():
    drift = np.linspace(1, 3, 60)
    found = overhead({"reference": drift, "method": 1.05 * drift}, "method", seed=0)
    assert np.allclose((found.value, found.low, found.high), 0.05)


def test_a_part_is_taken_off_and_another_put_on():
    rounds = {name: np.full(10, seconds) for name, seconds in (("reference", 2.0), ("method", 2.2), ("parts", 0.1))}
    assert overhead(rounds, "method", 0, less="parts").value == pytest.approx(0.05)
    assert overhead(rounds, "method", 0, more="parts").value == pytest.approx(0.15)


def test_the_interval_agrees_with_scipys_bootstrap():
    from scipy.stats import bootstrap

    draws = np.random.default_rng(1)
    seconds = draws.gamma(50, size=61)
    found = mean_interval(seconds, seed=2)
    settings = dict(n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(3), vectorized=False)
    expected = bootstrap((seconds,), lambda sample: quiet_mean(np.asarray(sample)), **settings).confidence_interval
    spread = expected.high - expected.low
    assert abs(found.low - expected.low) < 0.15 * spread and abs(found.high - expected.high) < 0.15 * spread


def test_intervals_cover_and_the_control_rarely_cries_wolf():
    """Two copies of the same work: the 95 % interval misses zero in about 5 %, that of the control in about 1 %."""
    rng = np.random.default_rng(5)
    missed = cried = 0
    for seed in range(200):
        rounds = {name: rounds_of(rng, 50, spread=0.01) for name in ("reference", "method")}
        found = overhead(rounds, "method", seed)
        missed += not found.low <= 0 <= found.high
        cried += control_fault(overhead(rounds, "method", seed, level=CONTROL_LEVEL), 50) is not None
    assert missed <= 22 and cried <= 8  # five standard errors above 10 and 2


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (Interval(0.05, 0.02, 0.099), "kept"),
        (Interval(0.05, 0.02, 0.10), "undecided"),
        (Interval(0.09, 0.07, 0.12), "undecided"),
        (Interval(0.12, 0.101, 0.2), "broken"),
        (Interval(0.099, 0.099, 0.099), "kept"),
        (Interval(0.1, 0.1, 0.1), "broken"),
        (Interval(-0.063, -0.304, 0.235), "undecided"),
    ],
)
def test_a_limit_has_three_outcomes_and_both_ends_count(found, outcome):
    assert outcome_of(found, 0.1) == outcome


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (Interval(0.0, -0.01, 0.01), None),
        (Interval(0.0, -0.02, 0.02), "too restless"),
        (Interval(0.01, 0.002, 0.02), "leaves out zero"),
        (Interval(float("nan"), float("nan"), float("nan")), "too coarse"),
    ],
)
def test_the_control_says_when_a_measurement_counts(control, words):
    fault = control_fault(control, 50)
    assert (fault is None) if words is None else words in fault
    assert CONTROL_WIDTH == 0.03


def test_a_thread_of_its_own_is_timed_by_its_own_work_alone():
    """CPU time leaves out what a work waits for; wall time has it."""
    import time

    times = time_rounds({"waits": lambda: time.sleep(0.02)}, 3, seed=0)
    assert (times.cpu["waits"] < times.wall["waits"]).all()
