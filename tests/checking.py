"""The run-time type checker that pytest puts on every function of the rooms with tensors (see pyproject.toml)."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def typechecker(function: Callable) -> Callable:
    """Checks shapes and types; an int passes for a float, as Python's type rules say.

    A hint with `Self` in it cannot be checked on a single method, so it passes as anything.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: Any if "typing.Self" in repr(hint) else hint for name, hint in hints.items()}
    return _check(function)
