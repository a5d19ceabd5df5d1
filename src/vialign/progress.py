"""One progress bar for everything that takes longer than two seconds."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with a bar on stderr that says what is done, how far it is and how long it will take."""
    return iter(tqdm(items, desc=description, total=total, mininterval=1.0, delay=2.0, file=sys.stderr))
