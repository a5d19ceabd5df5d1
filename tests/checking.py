"""The run-time type checker that pytest puts on every function of the rooms with tensors (see pyproject.toml)."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable) -> Callable:
    """Checks shapes and types; an int passes for a float, as Python's type rules say.

    Two kinds of hint cannot be checked here and pass as anything: one with `Self` in it, since methods are checked one
    by one without their class, and a protocol that is not made for run-time checks.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: hint if _checkable(hint) else Any for name, hint in hints.items()}
    return _check(function)


def _checkable(hint: object) -> bool:
    static_protocol = getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False)
    return not static_protocol and "typing.Self" not in repr(hint)
