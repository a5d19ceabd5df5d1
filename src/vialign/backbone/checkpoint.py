"""Weights of a backbone: read without unpickling, and refused unless they fit the architecture exactly."""

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from vialign.artifacts import read_tensors
from vialign.errors import UserError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def sha256(path: str | Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(model: nn.Module, path: str | Path, architecture: str) -> None:
    """Put a checkpoint into a model, strictly.

    Raises UserError when the file is missing or unreadable, or when a tensor is missing, has another shape, or has no
    place in the model; the message names the first such tensor, with both shapes.
    """
    state = convert_state_dict(model, read_state(path))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    scale = state.get("logit_scale")
    if scale is not None and scale.numel() == 1:
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
        raise UserError(
            f"{path}: not a checkpoint of {architecture}: {difference}; "
            "set backbone.architecture to the model it was made with"
        )
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

    Raises UserError when the file is missing, damaged, or can only be read by running code that it carries.
    """
    if Path(path).suffix == ".safetensors":
        return read_tensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces what it does with a TorchScript archive; refused below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        if "TorchScript" in str(error):
            raise UserError(
                f"{path}: a TorchScript archive (the form of OpenAI's own release), which carries code; "
                "save its state_dict as safetensors, or name the open_clip tag `openai` instead"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a checkpoint of plain tensors: {reason}; save it as safetensors") from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state_dict of named tensors; save the model's state_dict")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def declared_activation(path: str | Path) -> str | None:
    """The activation that a local checkpoint was trained with, as far as the file itself says.

    Looks at vialign's provenance in a safetensors header, then at the name: OpenAI's weights (also in a Hugging Face
    cache, whose folder carries the repository's name) and files that say `quickgelu` need QuickGELU. None when
    nothing is said.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        declared = _provenance(path).get("activation")
        if declared is not None:
            return declared
    named = [path.name, *(part for part in path.parts[:-1] if part.startswith("models--"))]
    openai = any(re.search(r"openai|quick_?gelu", part, re.IGNORECASE) for part in named)
    return "quick_gelu" if openai else None


def _provenance(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("vialign", "{}"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
