"""The run-time type checker that pytest puts on every function of the packages with tensors (see pyproject.toml)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import config

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable) -> Callable:
    """Checks shapes and types; an int passes for a float, as Python's type rules say.

    Two kinds of hint cannot be checked here and pass as anything: one with `Self` in it, since methods are checked one
    by one without their class, and a protocol that is not made for run-time checks.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: hint if _checkable(hint) else Any for name, hint in hints.items()}
    return _check(function)


@contextmanager
def unchecked() -> Iterator[None]:
    """Calls without these checks, for what repeats the same calls thousands of times.

    A long training or a simulation takes up to twice as long with them, and other tests check the same functions.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def _checkable(hint: object) -> bool:
    static_protocol = getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False)
    return not static_protocol and "typing.Self" not in repr(hint)
