"""Lets torchvision be imported where its compiled operators do not fit the installed torch.

The registry's torchvision is built against the CUDA torch; next to a CPU torch its library does not load, and the
import then fails with `operator torchvision::nms does not exist`, because torchvision describes that operator (and
`qnms`) before it checks whether it has it. Declaring the two schemas first is enough: vialign never calls them.
"""

import importlib.machinery
import importlib.util
import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_library: torch.library.Library | None = None
"""Kept alive for the life of the process: the schemas vanish with it."""


def define_missing_operators() -> bool:
    """Declare torchvision's schemas when, and only when, its compiled operators cannot load.

    Must run before the first `import torchvision` of the process (so before open_clip, timm, peft or torchmetrics).
    Returns whether the schemas were declared by this call.
    """
    global _library
    if "torchvision" in sys.modules or _library is not None or _operators_load():
        return False
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)
    return True


def _operators_load() -> bool:
    """Whether torchvision's compiled library is there, loads, and brings `nms`; true where torchvision is missing."""
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.submodule_search_locations:
        return True
    compiled = importlib.machinery.PathFinder.find_spec("_C", list(package.submodule_search_locations))
    if compiled is None or compiled.origin is None:
        return False
    try:
        torch.ops.load_library(compiled.origin)
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, "nms")
