"""A clock for tests of timings."""


class FakeClock:
    """A clock that only the work itself advances, so that times are known and no machine matters."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float):
        """Work that takes these seconds, call by call, again and again."""
        calls = 0

        def run() -> None:
            nonlocal calls
            self.now += seconds[calls % len(seconds)]
            calls += 1

        return run
