"""A whole split through a disentangler in bounded memory, and the disentanglers on disk."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd
import torch
from torch import nn

from vialign.device import CPU, to_device
from vialign.disentangle.caption_data import require_tokens
from vialign.disentangle.structure import align_units
from vialign.disentangle.text import Path as ReadingPath
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import Phrases, Prototypes
from vialign.disentangle.visual import VisualDisentangler
from vialign.errors import UserError, reading
from vialign.files.artifacts import read_provenance, read_tensors, write_tensors
from vialign.progress import track

if TYPE_CHECKING:
    from vialign.features import ImageFeatures, TextFeatures

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def encode_images(
    visual: VisualDisentangler, features: "ImageFeatures", batch: int = 256, keep_maps: bool = False
) -> Prototypes:
    """Prototypes of every image of a split, in its order; maps only with `keep_maps`, since they are the bulk.

    The disentangler runs where it is; what it gives comes back to the CPU.
    """
    blocks, device = [], visual.mean.device
    for start in track(range(0, len(features.ids), batch), "image prototypes"):
        block = visual(to_device(features.patches(start, min(start + batch, len(features.ids))), device)).to(CPU)
        maps = block.maps if keep_maps else None
        blocks.append(Prototypes(block.features, block.mass, maps, block.moments))
    return Prototypes.concatenate(blocks)


@torch.no_grad()
def encode_texts(
    text: TextDisentangler,
    features: "TextFeatures",
    units: pd.DataFrame | None,
    batch: int = 256,
    path: ReadingPath = "mixed",
) -> Phrases:
    """Phrase units of every text of a split, in its order; `units` (UNITS) is the parser's reading.

    Without `units` the main path is alone. Token assignments are dropped. The disentangler runs where it is; what it
    gives comes back to the CPU. Raises UserError when a text has no token.
    """
    device = text.mean.device
    by_text = None if units is None else {key: block for key, block in units.groupby("text_id", sort=False)}
    blocks = []
    for start in track(range(0, len(features.ids), batch), "phrase units"):
        stop = min(start + batch, len(features.ids))
        states, mask, offsets = features.block(start, stop)
        ids = features.ids[start:stop]
        require_tokens(mask, ids)
        structure = None
        if by_text is not None and units is not None:
            found = [by_text[key] for key in ids if key in by_text]
            structure = align_units(pd.concat(found) if found else units.iloc[:0], ids, offsets, mask).to(device)
        block = text(to_device(states, device), to_device(mask, device), structure, path)
        blocks.append(replace(block, assign=None).to(CPU))
    return Phrases.concatenate(blocks)


def save_visual(visual: VisualDisentangler, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write the dictionary; the file holds all that `load_visual` needs."""
    _save(visual, visual.numbers(), path, provenance)


def save_text(text: TextDisentangler, path: str | Path, provenance: Mapping[str, str]) -> None:
    """Write the phrase units; the file holds all that `load_text` needs."""
    _save(text, text.numbers(), path, provenance)


def load_visual(path: str | Path) -> VisualDisentangler:
    """A frozen visual disentangler.

    Raises UserError when the file is missing or holds something else.
    """
    return _load(VisualDisentangler, path)


def load_text(path: str | Path) -> TextDisentangler:
    """A frozen text disentangler.

    Raises UserError when the file is missing or holds something else.
    """
    return _load(TextDisentangler, path)


def _save(module: nn.Module, numbers: dict[str, object], path: str | Path, provenance: Mapping[str, str]) -> None:
    built = {"module": type(module).__name__, "numbers": json.dumps(numbers, sort_keys=True)}
    write_tensors(module.state_dict(), path, {**provenance, **built})


def _load(kind: type[Module], path: str | Path) -> Module:
    tensors = read_tensors(path)
    provenance = read_provenance(path)
    if provenance.get("module") != kind.__name__:
        raise UserError(f"{path}: holds {provenance.get('module')!r}, expected {kind.__name__!r}; fit it again")
    with reading(path, "fit it again"):
        numbers = json.loads(provenance["numbers"])
        if "grid" in numbers:
            numbers["grid"] = tuple(numbers["grid"])
        module = kind(**numbers)
        module.load_state_dict(tensors)
    return module.eval().requires_grad_(False)
