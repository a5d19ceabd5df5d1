"""The run-time type checker that pytest puts on every function of the packages with tensors (see pyproject.toml)."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import config

LIMIT = 1000
"""Checks of one test, after which its calls go unchecked: what a loop calls a thousand times has shown its types, and a
long training or a simulation takes up to twice as long with them."""
_spent = {"checks": 0}
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable) -> Callable:
    """Checks shapes and types; an int passes for a float, as Python's type rules say.

    Two kinds of hint cannot be checked here and pass as anything: one with `Self` in it, since methods are checked one
    by one without their class, and a protocol that is not made for run-time checks.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: hint if _checkable(hint) else Any for name, hint in hints.items()}
    made = cache(lambda: _check(function))  # at the first call: most functions are not called by most workers

    @wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        _spent["checks"] += 1
        if _spent["checks"] >= LIMIT:
            config.update("jaxtyping_disable", True)
        return made()(*arguments, **named)

    return counted


def begin_checks() -> None:
    """A test begins: its calls are checked again."""
    _spent["checks"] = 0
    config.update("jaxtyping_disable", False)


def _checkable(hint: object) -> bool:
    static_protocol = getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False)
    return not static_protocol and "typing.Self" not in repr(hint)
