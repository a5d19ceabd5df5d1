"""The exported folder on disk: what is written, and how the backbone is found and checked when it is read."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import nn

from vialign.aligner.about import CONFIG, About, Reference
from vialign.backbone import load_backbone, model_definition
from vialign.backbone.adopting import adopt_model, tensors_digest
from vialign.backbone.byte_pairs import DEMO_MERGES
from vialign.backbone.checkpoint import SUFFIXES
from vialign.backbone.loading import weights_file
from vialign.backbone.openclip import lacks_decoder
from vialign.backbone.registry import ASSETS, BLIP, DEMO
from vialign.backbone.tokenizer_file import FileTokenizer
from vialign.config.data import BackboneConfig
from vialign.data.base import safe_join
from vialign.errors import UserError
from vialign.files.artifacts import write_tensors, write_text
from vialign.toolkit.images import content_digest
from vialign.toolkit.signal import CALIBRATION, PARSER, TEXT, VISUAL

if TYPE_CHECKING:
    from vialign.backbone import Backbone
    from vialign.backbone.dual_encoder import DualEncoder

Checked = TypeVar("Checked", bound="Backbone")

METHOD = "method.safetensors"
CARD = "README.md"
BACKBONE = "backbone"
"""Stem of the file of its weights, where they are in the folder."""
TOKENIZER = "tokenizer"
_BLIP_FOLDER = "blip"


def write_backbone(
    backbone: "Backbone", config: BackboneConfig, seed: int, folder: Path, with_weights: bool
) -> Reference:
    """Write how the backbone is built, its tokenizer and, where wanted, its weights; what `config.json` says of it.

    Raises UserError where the weights are no file and the model is not the one that a file could hold.
    """
    architecture = config.architecture
    reference = Reference(architecture=architecture, checkpoint=_called(config), seed=seed)
    if architecture == BLIP:
        assert config.definition is not None
        reference.definition = _BLIP_FOLDER
        (folder / _BLIP_FOLDER).mkdir()
        shutil.copyfile(Path(config.definition) / "config.json", folder / _BLIP_FOLDER / "config.json")
    else:
        reference.definition = f"{architecture}.json"
        settings = model_definition(architecture, config.definition)
        write_text(json.dumps(settings, indent=1) + "\n", folder / reference.definition)
        merges = (settings["text_cfg"].get("tokenizer_kwargs") or {}).get("bpe_path")
        if merges is not None and config.definition is not None:
            target = safe_join(folder, merges)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(config.definition).parent / merges, target)
        elif architecture == DEMO:
            shutil.copyfile(ASSETS / DEMO_MERGES, folder / DEMO_MERGES)
    reference.tokenizer = _write_tokenizer(backbone, folder)
    if with_weights:
        reference.weights = _write_weights(backbone, config, folder)
    return reference


def _called(config: BackboneConfig) -> str | None:
    """The name of the weights, without the place that they had on this machine."""
    if config.checkpoint is None or Path(config.checkpoint).suffix.lower() not in SUFFIXES:
        return config.checkpoint
    return Path(config.checkpoint).name


def _write_tokenizer(backbone: "Backbone", folder: Path) -> str | None:
    """Copy the tokenizer's own file, where it has one; open_clip's byte pairs come with open_clip."""
    tokenizer = getattr(backbone, "tokenizer", None)
    if not isinstance(tokenizer, FileTokenizer):
        return None
    (folder / TOKENIZER).mkdir()
    tokenizer.copy_to(folder / TOKENIZER)
    return TOKENIZER


def _write_weights(backbone: "Backbone", config: BackboneConfig, folder: Path) -> str:
    file = weights_file(config)
    if file is not None:
        name = f"{BACKBONE}{file.suffix}"
        shutil.copyfile(file, folder / name)
        return name
    if lacks_decoder(backbone.model):
        raise UserError(
            f"{config.architecture}: its decoder of captions is not kept in memory, so the weights cannot be written; "
            "leave the weights out and keep their file"
        )
    name = f"{BACKBONE}.safetensors"
    write_tensors(backbone.model.state_dict(), folder / name, {"activation": backbone.contract["activation"]})
    return name


def open_folder_backbone(folder: Path, about: About, given: "nn.Module | str | Path | None") -> "DualEncoder":
    """The backbone of an exported folder: `given` (a model in memory, a file or tag of weights), its own, or named.

    Raises UserError when it cannot be found, and naming what differs when it is another than the folder was made with.
    """
    named = named_backbone(folder, about)
    if isinstance(given, nn.Module):
        adopted = adopt_model(given, named.architecture, named.definition, named.tokenizer)
        return checked(adopted.in_precision(named.precision), about, folder)
    random = about.contract.get("checkpoint", "").startswith("random:")
    checkpoint = None if random and given is None else _weights(folder, about, given)
    config = named.model_copy(update={"checkpoint": checkpoint})
    return checked(load_backbone(config, about.backbone.seed), about, folder)


def named_backbone(folder: Path, about: About) -> BackboneConfig:
    """The backbone as a configuration names it, with what of it lies in the folder.

    Raises UserError where a name leads out of the folder.
    """
    said = about.backbone
    definition, tokenizer, weights = (
        None if name is None else str(safe_join(folder, name))
        for name in (said.definition, said.tokenizer, said.weights)
    )
    named: dict[str, Any] = {"definition": definition, "tokenizer": tokenizer, "checkpoint": weights or said.checkpoint}
    named |= {field: value for field, value in about.contract.items() if field == "precision"}
    return BackboneConfig(architecture=said.architecture, **named)


def _weights(folder: Path, about: About, given: str | Path | None) -> str:
    """The file or tag of the weights."""
    reference = about.backbone
    if given is not None:
        return str(given)
    if reference.weights is not None:
        return str(safe_join(folder, reference.weights))
    named = reference.checkpoint
    if named is None:
        raise UserError(
            f"{folder}: was saved from a model in memory, without its weights; give that model: backbone=MODEL"
        )
    if Path(named).suffix.lower() in SUFFIXES and not Path(named).is_file():
        digest = about.contract.get("checkpoint", "")[:12]
        raise UserError(
            f"{folder}: refers to the backbone's weights {named} (sha256 {digest}...), which are not in it; give their "
            "file (backbone=FILE in Python, --pretrained FILE on the command line), or export --with-backbone"
        )
    return named


def checked(backbone: Checked, about: About, folder: Path) -> Checked:
    """The backbone, if it is the one that the folder was made with; it then carries the folder's contract.

    Raises UserError naming the first field that differs. Weights are compared by file, else tensor by tensor.
    """
    own, wanted = backbone.contract, about.contract
    for field, value in wanted.items():
        if field != "checkpoint" and own.get(field) != value:
            raise UserError(
                f"{folder}: was made with a backbone whose {field} is {value!r}, this one has {own.get(field)!r}; "
                "use the backbone that it was made with"
            )
    if own.get("checkpoint") != wanted.get("checkpoint"):
        found = tensors_digest(backbone.model)
        if found != about.tensors:
            raise UserError(
                f"{folder}: was made with other weights of the backbone: the digest of their tensors is "
                f"{about.tensors[:12]}..., of these {found[:12]}...; use the weights that it was made with "
                f"({about.backbone.checkpoint or 'those of the model that was wrapped'})"
            )
    cast(Any, backbone).contract = dict(wanted)
    return backbone


def method_digest(folder: Path) -> str:
    """sha256 of the files of an exported folder that its scores follow from, by their contents.

    That is `config.json`, which holds the contract of the backbone, the method's weights, and the units, calibration
    and parser of the signal. The card, the backbone's own files and a folded checkpoint are none of them.
    """
    named = [folder / name for name in (CONFIG, METHOD, VISUAL, TEXT, CALIBRATION)]
    files = [file for file in (*named, *sorted((folder / PARSER).rglob("*"))) if file.is_file()]
    said = [f"{file.relative_to(folder).as_posix()} {content_digest(file)}\n" for file in files]
    return hashlib.sha256("".join(said).encode()).hexdigest()
