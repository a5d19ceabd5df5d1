"""vialign: verifiable implicit alignment signals for frozen vision-language backbones.

`vialign.load` and `vialign.wrap` are the front door for pictures and captions of one's own; they bring torch along only
when they are first named.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vialign.aligner import Aligner as Aligner
    from vialign.aligner import load as load
    from vialign.aligner import wrap as wrap

__version__ = version(__name__)
_LAZY = {"Aligner": "vialign.aligner", "load": "vialign.aligner", "wrap": "vialign.aligner"}
"""What the package gives without importing anything heavy before it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
