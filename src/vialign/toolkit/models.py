"""A backbone by the two names that a user knows it by."""

from pathlib import Path
from typing import TYPE_CHECKING

from vialign.config.data import BackboneConfig
from vialign.errors import UserError

if TYPE_CHECKING:
    from vialign.backbone import Backbone

RANDOM = "random"
"""Instead of weights: random ones, to try the tool out."""


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
    import torch

    from vialign.backbone import load_backbone

    config = BackboneConfig(
        architecture=model,
        definition=None if definition is None else str(definition),
        checkpoint=None if str(pretrained) == RANDOM else str(pretrained),
    )
    backbone = load_backbone(config)
    try:
        return backbone.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {device!r}: {str(error).splitlines()[0]}; use cpu") from None
