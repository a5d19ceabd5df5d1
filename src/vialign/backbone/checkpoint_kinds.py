"""Files that are handed around as checkpoints and are none, or not of this kind: each is recognised and named."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vialign.errors import UserError, not_the_file, one_line

NESTED = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training programs keep the named tensors of a model."""
_WRAPPERS = ("module.", "_orig_mod.", "model.")
"""Put before every name by data-parallel training, by torch.compile, and by programs that keep the model in a field."""
_HEAD = 512
"""Bytes that are looked at."""
_TAR = 257, b"ustar"
"""Where a tar archive says what it is."""
_MAGIC = {
    b"\x1f\x8b": "is packed with gzip; unpack it first",
    b"GGUF": "is a GGUF file, whose weights are quantised; use the model's weights in float32 or float16",
    b"\x89HDF": "is an HDF5 file, as Keras writes; use the model's PyTorch weights",
}
_SHARD = re.compile(r".*-(\d{5})-of-(\d{5})(?:\.\w+)+")
_ADAPTER = re.compile(r"lora_[AB]|lora_(?:down|up)|^base_model\.model\.|\.lokr_|\.hada_")
_QUANTISED = re.compile(
    r"\.(?:SCB|CB|weight_format|qweight|qzeros|g_idx|absmax|quant_map|quant_state\S*|_packed_params\S*)$"
)
_OTHER_KINDS = {
    ("text_model.", "vision_model."): "CLIPModel, SiglipModel or their kin",
    ("vision_model.", "text_encoder.", "text_decoder."): "BlipModel or its kin",
    ("clip.", "owlvit.", "clipseg."): "a model around CLIP",
}
"""Beginnings of the names of models of the transformers library."""
_SIZES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def refuse_other_files(path: Path) -> None:
    """Look at name and bytes of a file. Raises UserError naming what it is, where it cannot be one whole checkpoint."""
    instead = not_the_file(path)
    if instead is not None:
        raise UserError(f"{path}: {instead}")
    part = _SHARD.fullmatch(path.name)
    if part is not None:
        raise UserError(
            f"{path}: is part {int(part[1])} of {int(part[2])} of a checkpoint; save the state_dict of the whole model "
            "as one file"
        )
    with path.open("rb") as file:
        head = file.read(_HEAD)
    said = next((said for magic, said in _MAGIC.items() if head.startswith(magic)), "")
    if said:
        raise UserError(f"{path}: {said}")
    if head.startswith(b"PK\x03\x04"):
        _refuse_other_archives(path)
    if head.startswith(_TAR[1], _TAR[0]):
        raise UserError(f"{path}: is a tar archive; unpack it and name the file of weights in it")
    _refuse_text(path, head)
    if head[8:9] == b"{" and path.suffix.lower() != ".safetensors":
        raise UserError(f"{path}: is a safetensors file under another name; rename it to end in .safetensors")


def _refuse_text(path: Path, head: bytes) -> None:
    """What a server or a program wrote in place of weights, or beside them."""
    text = head.decode("utf-8", "ignore").strip()
    if len(text.encode()) + 4 < len(head.strip()) or not all(sign.isprintable() or sign.isspace() for sign in text):
        return
    if '"weight_map"' in text or path.name.endswith(".index.json"):
        raise UserError(
            f"{path}: is the list of the parts of a checkpoint; save the state_dict of the whole model as one file"
        )
    wanted = "a safetensors file" if path.suffix.lower() == ".safetensors" else "a checkpoint"
    raise UserError(f"{path}: is text that begins {text[:40]!r}, not {wanted}; download it again")


def _refuse_other_archives(path: Path) -> None:
    """Of the zip archives, only torch's own form of plain tensors is left."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        raise UserError(f"{path}: is the beginning of an archive without its end; download it again") from None
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path}: is a TorchScript archive (the form of OpenAI's own release), which carries code; "
            "save its state_dict as safetensors, or name the open_clip tag `openai` instead"
        )
    if not any(name.endswith("data.pkl") for name in names):
        few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise UserError(f"{path}: is a zip archive ({few}); unpack it and name the file of weights in it")
    if path.suffix.lower() == ".safetensors":
        raise UserError(f"{path}: is a file of torch.save under the name of safetensors; rename it to end in .pt")


def named_tensors(loaded: Any, path: str | Path) -> dict[str, Tensor]:
    """The state_dict in what a file held: itself, or under one of `NESTED`; without the prefixes of wrappers.

    Raises UserError when there is none.
    """
    state = loaded
    for _ in range(3):
        inner = [state[key] for key in NESTED if isinstance(state, Mapping) and isinstance(state.get(key), Mapping)]
        state = inner[0] if inner else state
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path}: holds no state_dict of named tensors; save the model's state_dict")
    odd = next((key for key, value in state.items() if not isinstance(key, str) or not isinstance(value, Tensor)), None)
    if odd is not None:
        kind = "is no name" if not isinstance(odd, str) else f"holds {type(state[odd]).__name__}, no tensor"
        raise UserError(
            f"{path}: holds no state_dict of named tensors (its key {str(odd)[:60]!r} {kind}); "
            "save the model's state_dict"
        )
    return without_wrappers(state)


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that the model itself gives them."""
    plain = dict(state)
    while plain and (found := next((w for w in _WRAPPERS if all(name.startswith(w) for name in plain)), None)):
        plain = {name.removeprefix(found): tensor for name, tensor in plain.items()}
    return plain


def refuse_other_weights(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises UserError for no weights at all, an adapter, quantised weights, and weights that are not real numbers."""
    if not state:
        raise UserError(f"{path}: holds no tensor; save the model's state_dict")
    adapter = next((name for name in state if _ADAPTER.search(name)), None)
    if adapter is not None:
        raise UserError(
            f"{path}: is an adapter (tensor {adapter}), which holds only what it changes in its model; merge it "
            "(peft: `merge_and_unload()`) and save the whole state_dict"
        )
    for name, tensor in state.items():
        whole = tensor.dtype in (torch.int8, torch.uint8) or tensor.is_quantized or "float8" in str(tensor.dtype)
        if _QUANTISED.search(name) or (whole and tensor.ndim > 1):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{path}: is quantised (tensor {name} has {kind}); use the weights in float32, float16 or bfloat16"
            )
        if tensor.is_complex():
            raise UserError(f"{path}: tensor {name} has complex numbers; use the weights in real ones")
        if tensor.layout != torch.strided:
            raise UserError(f"{path}: tensor {name} is sparse; save the state_dict of dense tensors")
        if tensor.dtype in _SIZES and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(
                f"{path}: tensor {name} has {bad} of {tensor.numel()} numbers that are nan or infinite; the training "
                "that wrote it went wrong, so use an earlier checkpoint"
            )


def other_library(state: Mapping[str, Tensor]) -> str | None:
    """What model of the transformers library the names are those of; None where they are not."""
    for beginnings, kind in _OTHER_KINDS.items():
        around = (*beginnings, "logit_", "visual_projection", "text_projection")
        if all(name.startswith(around) for name in state) and any(name.startswith(beginnings) for name in state):
            return kind
    return None


def refuse_other_library(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises UserError when the file holds a model of the transformers library, which no architecture here reads."""
    kind = other_library(state)
    if kind is not None:
        raise UserError(
            f"{path}: holds a model of the transformers library ({kind}: its tensors are called "
            f"{next(iter(state))}, ...), not of open_clip; use the same model's open_clip weights "
            "(for openai/clip-vit-base-patch32: architecture ViT-B-32-quickgelu with checkpoint `openai`)"
        )


def refuse_other_types(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path) -> None:
    """Raises UserError for whole numbers where the model has fractions: they were rounded, or are something else."""
    for name, tensor in expected.items():
        if tensor.is_floating_point() and not state[name].is_floating_point():
            kinds = (str(found.dtype).removeprefix("torch.") for found in (state[name], tensor))
            raise UserError(
                f"{path}: tensor {name} has {' in the file and '.join(kinds)} in the model; use weights in float32, "
                "float16 or bfloat16"
            )


def torch_reason(error: Exception) -> str:
    """Why torch could not read a file, in a few words, without the offer that its message makes."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    found = re.search(r"WeightsUnpickler error:\s*(.+)", said)
    reason = found[1] if found is not None else "" if "weights_only" in said else said
    return one_line(Exception(reason) if reason else type(error)(), 80)


def python_objects(reason: str) -> str | None:
    """Which object torch refused to unpickle, as its own message says; None where it says something else.

    Its message offers to load the file all the same, which would run whatever code it carries; that is not repeated.
    """
    found = re.search(r"GLOBAL ([\w.]+) was not an allowed global", reason)
    return found[1] if found is not None else None
