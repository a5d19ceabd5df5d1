"""One progress bar for everything that takes longer than two seconds."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


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
    return iter(tqdm(items, desc=description, total=total, mininterval=1.0, delay=2.0, file=sys.stderr))


def follow(steps: range, description: str, shown: bool = True) -> Followed:
    """Steps with the bar of `track`, behind which `say` puts the latest numbers."""
    return Followed(tqdm(steps, desc=description, mininterval=1.0, delay=2.0, file=sys.stderr, disable=not shown))
