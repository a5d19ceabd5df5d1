"""vialign: verifiable implicit alignment signals for frozen vision-language backbones.

`vialign.load` and `vialign.wrap` are the front door for pictures and captions of one's own; they bring torch along only
when they are first named.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version(__name__)
_LAZY = {name: "aligner" for name in ("Aligner", "load", "wrap")}
"""Names that a package below gives once they are asked for; `__init__.pyi` has their types.

Neither imported nor named in full: a code digest would follow either, from every module of the package.
"""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
