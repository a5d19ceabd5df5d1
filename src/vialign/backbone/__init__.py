"""The frozen dual encoder: protocol, open_clip, and the demo model that ships with vialign."""

from vialign.backbone.torchvision_shim import define_missing_operators

define_missing_operators()  # before anything below imports open_clip, and with it torchvision

from vialign.backbone.loading import load_backbone  # noqa: E402
from vialign.backbone.openclip import OpenClipBackbone  # noqa: E402
from vialign.backbone.protocol import READOUTS, Backbone, Tokens  # noqa: E402
from vialign.backbone.registry import create_model, model_definition  # noqa: E402
from vialign.backbone.tokenizers import make_tokenizer  # noqa: E402

__all__ = [
    "READOUTS",
    "Backbone",
    "OpenClipBackbone",
    "Tokens",
    "create_model",
    "load_backbone",
    "make_tokenizer",
    "model_definition",
]
