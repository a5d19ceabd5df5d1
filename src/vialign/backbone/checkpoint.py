"""Weights of a backbone: read without unpickling, and refused unless they fit the architecture exactly."""

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from vialign.backbone.checkpoint_fits import fitting_architectures
from vialign.backbone.checkpoint_kinds import (
    named_tensors,
    python_objects,
    refuse_other_files,
    refuse_other_library,
    refuse_other_types,
    refuse_other_weights,
    torch_reason,
    without_wrappers,
)
from vialign.errors import UserError, reading
from vialign.files.artifacts import read_provenance, read_tensors

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files of weights, in small or capital letters."""


def sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(model: nn.Module, path: str | Path, architecture: str) -> None:
    """Put a checkpoint into a model, strictly.

    Raises UserError when the file is missing or unreadable, or when a tensor is missing, has another shape, or has no
    place in the model; the message names the first such tensor, with both shapes.
    """
    published = read_state(path)
    refuse_other_library(published, path)
    with reading(path, "use a checkpoint of open_clip"):
        state = convert_state_dict(model, published)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    scale = state.get("logit_scale")
    if scale is not None and scale.numel() == 1 and "logit_scale" in expected:
        state["logit_scale"] = scale.reshape(expected["logit_scale"].shape)
    fill(model, state, path, architecture)


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    path: str | Path,
    architecture: str,
    published: Callable[[str], str] = str,
) -> None:
    """Put named tensors into a model, strictly; `path` is where they come from.

    `published` gives the file's name of a model's tensor, where the two differ. Raises UserError as `load_weights`.
    """
    expected = {published(name): tensor for name, tensor in model.state_dict().items()}
    difference = first_difference(state, expected)
    if difference is not None:
        fitting = fitting_architectures(state)
        named = f", such as {' or '.join(fitting)}" if fitting else ""
        raise UserError(
            f"{path}: not a checkpoint of {architecture}: {difference}; "
            f"set backbone.architecture to the model it was made with{named}"
        )
    refuse_other_types(state, expected, path)
    model.load_state_dict({name: state[published(name)] for name in model.state_dict()})


def first_difference(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """What first keeps `state` from fitting, in the order of the model's tensors; None when it fits."""
    for name, tensor in expected.items():
        needed = list(tensor.shape)
        if name not in state:
            return f"tensor {name} is missing from the file, the model has it with shape {needed}"
        if list(state[name].shape) != needed:
            return f"tensor {name} has shape {list(state[name].shape)} in the file and {needed} in the model"
    for name, tensor in state.items():
        if name not in expected:
            return f"tensor {name} has shape {list(tensor.shape)} in the file and is not in the model"
    return None


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors or torch file; a training checkpoint gives its `state_dict`.

    The prefix that data-parallel training puts before every name is taken off. Raises UserError when the file is
    missing, damaged, can only be read by running code that it carries, or holds no whole, plain and finite weights.
    """
    path = Path(path)
    with reading(path, "download it again"):
        refuse_other_files(path)
        state = read_tensors(path) if path.suffix.lower() == ".safetensors" else named_tensors(_unpickled(path), path)
    state = without_wrappers(state)
    refuse_other_weights(state, path)
    return state


def _unpickled(path: Path) -> Any:
    """What a torch file of any age holds, as far as that is plain data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces what it does with a file of its older forms
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is cut off makes the unpickler stumble in any of many ways
        found = python_objects(str(error))
        if found is not None and not _ends_with(path, found.rpartition(".")[2]):
            raise UserError(
                f"{path}: not a checkpoint of plain tensors: it carries Python objects ({found}), which could run "
                "code; only its state_dict is wanted: save that alone where the file was made "
                "(torch.save(model.state_dict(), ...) or safetensors), or get such a file"
            ) from error
        raise UserError(
            f"{path}: not a checkpoint of plain tensors, or cut off ({torch_reason(error)}); download it again, or "
            "save the state_dict as safetensors"
        ) from error


def _ends_with(path: Path, name: str) -> bool:
    """Whether a file stops in the middle of the name of an object: then it is cut off, and the name is not whole."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(name) - 1))
        return name.encode() in file.read()


def declared_activation(path: str | Path) -> str | None:
    """The activation that a local checkpoint was trained with, as far as the file itself says.

    Looks at vialign's provenance in a safetensors header, then at the name: OpenAI's weights (also in a Hugging Face
    cache, whose folder carries the repository's name) and files that say `quickgelu` need QuickGELU. None when
    nothing is said.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        refuse_other_files(path)
        declared = read_provenance(path).get("activation")
        if declared is not None:
            return declared
    named = [path.name, *(part for part in path.parts[:-1] if part.startswith("models--"))]
    openai = any(re.search(r"openai|quick_?gelu", part, re.IGNORECASE) for part in named)
    return "quick_gelu" if openai else None
