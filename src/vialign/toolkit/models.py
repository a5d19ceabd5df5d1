"""A backbone by the two names that a user knows it by."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vialign.config.data import BackboneConfig
from vialign.errors import UserError

if TYPE_CHECKING:
    from vialign.backbone import Backbone

RANDOM = "random"
"""Instead of weights: random ones, to try the tool out."""


class _Movable(Protocol):
    def to(self, device: Any) -> Any: ...


Model = TypeVar("Model", bound=_Movable)


def open_backbone(
    model: str, pretrained: str | Path, definition: str | Path | None = None, device: str = "cpu"
) -> "Backbone":
    """The frozen model `model` (an open_clip architecture) with its weights, on a device.

    `pretrained` is a safetensors or pt file, an open_clip tag, `package` (the weights of the demo `vialign-scenes`) or
    `random`. `definition` is an open_clip JSON named `<model>.json`. Raises UserError as
    `vialign.backbone.load_backbone`, and when there is no such device.

    >>> backbone = open_backbone("vialign-scenes", "package")
    >>> backbone.grid, backbone.readouts
    ((7, 7), ('final', 'value', 'self_self', 'early'))
    """
    from vialign.backbone import load_backbone

    config = BackboneConfig(
        architecture=model,
        definition=None if definition is None else str(definition),
        checkpoint=None if str(pretrained) == RANDOM else str(pretrained),
    )
    return moved(load_backbone(config), device)


def moved(model: Model, device: str) -> Model:
    """A model on a device. Raises UserError where there is no such device here."""
    import torch

    try:
        found: Model = model.to(torch.device(device))
        return found
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r}: {str(error).splitlines()[0]}; use cpu") from None
