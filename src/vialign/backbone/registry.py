"""Models by architecture name: open_clip's own, the demo model, and user definitions.

A definition is an open_clip model JSON named `<architecture>.json`.
"""

import difflib
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from vialign.errors import UserError, one_line
from vialign.files.text import read_json
from vialign.random import derive_seed

DEMO = "vialign-scenes"
"""Architecture of the backbones that ship with vialign."""
PACKAGED = {"package": DEMO, "package-truthful": f"{DEMO}-truthful"}
"""File of each checkpoint that ships with vialign, without its ending, by its name: pretrained on captions whose
relations are drawn blindly, and on captions whose relations hold."""
BLIP = "blip"
"""Architecture of BLIP, which is of another library than the rest."""
ASSETS = Path(__file__).parent / "assets"


def model_definition(architecture: str, definition: str | Path | None = None) -> dict[str, Any]:
    """The open_clip settings of an architecture; a definition file is registered with open_clip under its name.

    Raises UserError when the architecture is unknown or the definition is missing, malformed or named otherwise.
    """
    if definition is None and architecture == DEMO:
        definition = ASSETS / f"{DEMO}.json"
    if definition is not None:
        _register(architecture, Path(definition))
    settings = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if settings is None:
        close = difflib.get_close_matches(architecture, open_clip.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()"
        raise UserError(f"backbone.architecture: open_clip knows no model {architecture!r}; {hint}")
    return settings


def definition_digest(settings: Mapping[str, Any]) -> str:
    """sha256 of an architecture's settings: two models with the same tensors may still differ (number of heads)."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def create_model(architecture: str, definition: str | Path | None = None, seed: int = 0, **settings: Any) -> nn.Module:
    """A freshly initialised open_clip model, the same for the same seed; global random state is left alone.

    `settings` go to `open_clip.create_model`. Raises UserError as `model_definition`, and when a definition does not
    make a model.
    """
    model_definition(architecture, definition)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(derive_seed(seed, "backbone", architecture))
        try:
            return open_clip.create_model(
                architecture, load_weights=False, pretrained_image=False, pretrained_text=False, **settings
            )
        except Exception as error:  # whatever numbers and names of layers a definition may hold
            where = definition or architecture
            reason = one_line(error)
            raise UserError(
                f"{where}: not a model that open_clip can build ({reason}); correct the definition"
            ) from error


def _register(architecture: str, path: Path) -> None:
    if path.suffix != ".json" or path.stem != architecture:
        raise UserError(f"backbone.definition: {path} must be named {architecture}.json, as backbone.architecture says")
    if not path.exists():
        raise UserError(f"backbone.definition: {path}: no such file")
    settings = read_json(path, mend="correct the definition", finite=True)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not an open_clip model definition: it is no object; correct the definition")
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in settings]
    if missing:
        raise UserError(f"{path}: not an open_clip model definition: {', '.join(missing)} missing")
    if open_clip.get_model_config(architecture) != settings:
        # open_clip reads the file itself, again at every later definition, and knows no byte order mark.
        plain = Path(_plain_definitions().name) / path.name
        plain.write_text(json.dumps(settings), encoding="utf-8")
        open_clip.add_model_config(plain)


@cache
def _plain_definitions() -> "tempfile.TemporaryDirectory[str]":
    """A folder for this process alone; it goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="vialign-")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning that a model has random weights: that is what was asked for."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
