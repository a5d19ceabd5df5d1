"""A whole split through a disentangler in bounded memory, and the disentanglers on disk."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pandas as pd
import torch
from torch import nn

from vialign.device import CPU, to_device
from vialign.disentangle.caption_data import require_tokens
from vialign.disentangle.text import Path as ReadingPath
from vialign.disentangle.text import TextDisentangler
from vialign.disentangle.types import Phrases, Prototypes
from vialign.disentangle.units_in_order import UnitsInMemory, UnitsInOrder, in_order
from vialign.disentangle.visual import VisualDisentangler
from vialign.errors import UserError, reading
from vialign.files.artifacts import read_provenance, read_tensors, write_tensors
from vialign.progress import track_starts

if TYPE_CHECKING:
    from vialign.features import ImageFeatures, TextFeatures
    from vialign.language.units import Unit

Module = TypeVar("Module", bound=nn.Module)
BATCH = 256
"""Images or texts that go through a disentangler at a time."""


def encode_images(
    visual: VisualDisentangler, features: "ImageFeatures", batch: int = BATCH, keep_maps: bool = False
) -> Prototypes:
    """Prototypes of every image of a split, in its order; maps only with `keep_maps`, since they are the bulk.

    The disentangler runs where it is; what it gives comes back to the CPU, and what is not small lies in a temporary
    file.
    """
    return Prototypes.gathered(image_blocks(visual, features, batch, keep_maps), len(features.ids))


def encode_texts(
    text: TextDisentangler,
    features: "TextFeatures",
    units: "pd.DataFrame | Sequence[Sequence[Unit]] | None",
    batch: int = BATCH,
    path: ReadingPath = "mixed",
) -> Phrases:
    """Phrase units of every text of a split, in its order; `units` is the parser's reading: UNITS, or every text's own.

    Without `units` the main path is alone; those of other texts are left out. Token assignments are dropped. What is
    not small lies in a temporary file, on the CPU; the disentangler runs where it is. Raises UserError when a text has
    no token.
    """
    ordered: UnitsInOrder | UnitsInMemory | None = None
    if isinstance(units, pd.DataFrame):
        ordered = UnitsInOrder([in_order(units, features.ids)])
    elif units is not None:
        ordered = UnitsInMemory(units)
    return Phrases.gathered(text_blocks(text, features, ordered, batch, path), len(features.ids))


@torch.no_grad()
def image_blocks(
    visual: VisualDisentangler,
    features: "ImageFeatures",
    batch: int = BATCH,
    keep_maps: bool = False,
    rows: range | None = None,
) -> Iterator[Prototypes]:
    """The prototypes of `encode_images`, `batch` images at a time, none of which is held.

    Of the images at `rows` alone, where they are given.
    """
    device, rows = visual.mean.device, range(len(features.ids)) if rows is None else rows
    for start in track_starts(len(rows), batch, "image prototypes"):
        here = rows[start : start + batch]
        patches = features.patches(here.start, here.stop)
        block = visual(to_device(patches, device)).to(CPU)
        yield replace(block, maps=block.maps if keep_maps else None)


@torch.no_grad()
def text_blocks(
    text: TextDisentangler,
    features: "TextFeatures",
    units: UnitsInOrder | UnitsInMemory | None,
    batch: int = BATCH,
    path: ReadingPath = "mixed",
    rows: range | None = None,
) -> Iterator[Phrases]:
    """The phrases of `encode_texts`, `batch` texts at a time, none of which is held.

    Of the texts at `rows` alone, where they are given; `units` then begins with theirs.
    """
    ids, device = features.ids, text.mean.device
    rows = range(len(ids)) if rows is None else rows
    for start in track_starts(len(rows), batch, "phrase units"):
        own = rows[start : start + batch]
        here = ids[own.start : own.stop]
        states, mask, offsets = features.block(own.start, own.stop)
        require_tokens(mask, here)
        structure = None if units is None else units.on_tokens(here, offsets, mask).to(device)
        block = text(to_device(states, device), to_device(mask, device), structure, path)
        yield replace(block, assign=None).to(CPU)
    if units is not None and rows.stop == len(ids):
        units.require_end()


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
