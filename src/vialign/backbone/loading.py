"""From the configuration's `backbone` section to a frozen, checked dual encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from vialign.backbone.checkpoint import SUFFIXES, declared_activation, load_weights, sha256
from vialign.backbone.dual_encoder import DualEncoder
from vialign.backbone.openclip import OpenClipBackbone
from vialign.backbone.registry import ASSETS, BLIP, DEMO, PACKAGED, create_model, definition_digest, model_definition
from vialign.backbone.tokenizers import make_tokenizer
from vialign.config.data import BackboneConfig
from vialign.errors import UserError, reading


@dataclass(frozen=True)
class _Source:
    """Where weights come from."""

    path: Path
    preprocessing: dict[str, Any]
    """open_clip's preprocessing settings for them, where they differ from its default."""


def load_backbone(config: BackboneConfig, seed: int = 0) -> DualEncoder:
    """The configured backbone, frozen and in eval mode, on the CPU: BLIP where the architecture is `blip`, else
    open_clip's.

    `config.checkpoint` is `package` (the weights shipped with vialign), a safetensors or torch file, an open_clip tag
    (downloaded once), or None for random weights drawn from `seed`. Raises UserError when the architecture is not
    known or not readable, the checkpoint is missing or does not fit it, or its activation is another.
    """
    if config.architecture == BLIP:
        from vialign.backbone.blip import load_blip  # and with it transformers' model

        return load_blip(config, seed).in_precision(config.precision)
    with reading(config.definition or config.architecture, "correct the definition"):
        return _load(config, seed).in_precision(config.precision)


def weights_file(config: BackboneConfig) -> Path | None:
    """The file that the weights of a configured backbone lie in; None for random ones. Raises UserError as above."""
    if config.checkpoint is None:
        return None
    if config.architecture == BLIP:
        return Path(config.checkpoint)
    settings = model_definition(config.architecture, config.definition)
    activation = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    return _find(config.architecture, config.checkpoint, activation).path


def _load(config: BackboneConfig, seed: int) -> DualEncoder:
    definition = config.definition
    settings = model_definition(config.architecture, definition)
    activation = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    tokenizer = make_tokenizer(config.architecture, definition, config.tokenizer)
    source = None if config.checkpoint is None else _find(config.architecture, config.checkpoint, activation)
    model = create_model(
        config.architecture, definition, seed, force_preprocess_cfg=source.preprocessing if source else None
    )
    if source is not None:
        load_weights(model, source.path, config.architecture)
    contract = {
        "architecture": config.architecture,
        "definition": definition_digest(settings),
        "activation": activation,
        "checkpoint": f"random:{seed}" if source is None else sha256(source.path),
    }
    return OpenClipBackbone(model, tokenizer, contract)


def _find(architecture: str, checkpoint: str, activation: str) -> _Source:
    """The file behind a checkpoint's name; an activation that is known to be wrong is refused before a download."""
    if checkpoint in PACKAGED and architecture != DEMO:
        raise UserError(
            f"backbone.checkpoint: `{checkpoint}` holds the weights of {DEMO}, not of {architecture}; "
            "name a file or an open_clip tag"
        )
    tag = open_clip.get_pretrained_cfg(architecture, checkpoint)
    if tag:
        trained = "quick_gelu" if tag.get("quick_gelu") else "gelu"
        _check_activation(architecture, activation, checkpoint, trained)
        return _Source(_download(architecture, checkpoint, tag), tag)
    path = ASSETS / f"{PACKAGED[checkpoint]}.safetensors" if checkpoint in PACKAGED else Path(checkpoint)
    if path.is_dir():
        raise UserError(f"backbone.checkpoint: {path}: is a folder; name the file of weights in it")
    if not path.is_file() and path.suffix.lower() not in SUFFIXES:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise UserError(
            f"backbone.checkpoint: {checkpoint!r} is neither a file ({', '.join(SUFFIXES)}) nor a tag that open_clip "
            f"has for {architecture} ({', '.join(tags) or 'it has none'})"
        )
    if not path.is_file():
        raise UserError(f"backbone.checkpoint: {path}: no such file")
    _check_activation(architecture, activation, checkpoint, declared_activation(path))
    return _Source(path, {})


def _download(architecture: str, name: str, tag: dict[str, Any]) -> Path:
    try:
        return Path(open_clip.download_pretrained(tag))
    except Exception as error:  # the hub's client and urllib raise many kinds, all of which mean the same here
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"backbone.checkpoint: the weights {name!r} of {architecture} could not be downloaded ({reason}); "
            "check the network, or put the file in place and name its path"
        ) from None


def _check_activation(architecture: str, activation: str, checkpoint: str, trained: str | None) -> None:
    """QuickGELU weights in a GELU model, or the reverse, load without a word and give wrong numbers."""
    if trained is None or trained == activation:
        return
    base = architecture.removesuffix("-quickgelu")
    other = f"{base}-quickgelu" if trained == "quick_gelu" else base
    mend = f"use {other}" if other in open_clip.list_models() and other != architecture else "set its `quick_gelu`"
    raise UserError(
        f"backbone: the weights {checkpoint} were trained with {trained}, but architecture {architecture} has "
        f"{activation}; {mend}"
    )
