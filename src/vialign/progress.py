"""One progress bar for everything that takes longer than two seconds."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Block = TypeVar("Block", bound=Sized)


class Followed:
    """Steps with a bar that also tells how things stand."""

    def __init__(self, bar: "tqdm[int]") -> None:
        self._bar = bar

    def __iter__(self) -> Iterator[int]:
        return iter(self._bar)

    def say(self, **values: float) -> None:
        """Show these numbers behind the bar when it is drawn next."""
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar on stderr that says what is done, how far it is and how long it will take."""
    return iter(_bar(items, description, total=total))


def track_blocks(blocks: Iterable[Block], description: str, total: int) -> Iterator[Block]:
    """Iterate over blocks with the bar of `track`, which counts what the blocks hold, `total` in all, and not them.

    So the rate that it shows is of what it names: pictures a second, whatever the batch.
    """
    with _bar(None, description, total=total) as bar:
        for block in blocks:
            yield block
            bar.update(len(block))


def track_starts(count: int, size: int, description: str) -> Iterator[int]:
    """First positions of runs of `size` in 0 to `count`, with the bar of `track_blocks`, which counts positions."""
    runs = (range(start, min(start + size, count)) for start in range(0, count, size))
    return (run.start for run in track_blocks(runs, description, count))


def follow(steps: range, description: str, shown: bool = True) -> Followed:
    """Steps with the bar of `track`, behind which `say` puts the latest numbers."""
    return Followed(_bar(steps, description, disable=not shown))


def _bar(items: Iterable[Any] | None, description: str, **settings: Any) -> "tqdm[Any]":
    return tqdm(items, desc=description, mininterval=1.0, delay=2.0, file=sys.stderr, **settings)
