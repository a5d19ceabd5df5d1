"""Captions that the phrase units are fitted on, in memory: from the store, and read again with typos."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.config.disentangle import TextConfig
from vialign.disentangle.readings import Readings, read_both, read_states
from vialign.disentangle.structure import align_units
from vialign.disentangle.types import TokenStructure
from vialign.errors import UserError
from vialign.language.typos import with_typos
from vialign.progress import track_starts
from vialign.random import generator

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone
    from vialign.features import TextFeatures

_READ = 1024


@dataclass(frozen=True)
class CaptionData:
    """Captions in memory, with the structure that the main path is to read."""

    states: Float[Tensor, "text token dim"]
    """float16, the precision of the store."""
    mask: Bool[Tensor, "text token"]
    structure: TokenStructure

    @classmethod
    def of(cls, readings: Readings) -> "CaptionData":
        """Texts with their truth as the target."""
        return cls(readings.tokens.states, readings.tokens.mask, readings.truth)

    def joined(self, other: "CaptionData") -> "CaptionData":
        """The captions of both, padded to the longest."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        return CaptionData(
            torch.cat([F.pad(part.states, (0, 0, 0, length - part.mask.shape[1])) for part in (self, other)]),
            torch.cat([F.pad(part.mask, (0, length - part.mask.shape[1])) for part in (self, other)]),
            TokenStructure.concatenate([padded(part.structure, length) for part in (self, other)]),
        )


@dataclass(frozen=True)
class TypedCaptions:
    """Captions read again as they may be typed; their truth is what the clean caption said."""

    rows: Int[Tensor, "caption"]
    """Position of each caption among the texts of its split."""
    captions: CaptionData
    """To be fitted on, beside the clean captions."""
    gate_rows: Int[Tensor, "held"]
    """Positions of the captions that the fit leaves out."""
    gate: Readings
    """Those, for the gate."""


def read_captions(features: "TextFeatures", units: pd.DataFrame, rows: np.ndarray) -> CaptionData:
    """Rows of a store, with the parser's reading as the target."""
    blocks = []
    for start in track_starts(len(features.ids), _READ, "read token states"):
        inside = torch.from_numpy(rows[(rows >= start) & (rows < start + _READ)] - start)
        if len(inside):
            states, mask, offsets = features.block(start, min(start + _READ, len(features.ids)))
            blocks.append((states[inside].half(), mask[inside], offsets[inside]))
    longest = max(mask.shape[1] for _, mask, _ in blocks)
    states = torch.cat([F.pad(block, (0, 0, 0, longest - block.shape[1])) for block, _, _ in blocks])
    mask = torch.cat([F.pad(block, (0, longest - block.shape[1])) for _, block, _ in blocks])
    offsets = torch.cat([F.pad(block, (0, 0, 0, longest - block.shape[1])) for _, _, block in blocks])
    ids = [features.ids[row] for row in rows]
    require_tokens(mask, ids)
    return CaptionData(states, mask, align_units(units, ids, offsets, mask))


def require_tokens(mask: Bool[Tensor, "text token"], text_ids: list[str]) -> None:
    """Raise UserError when a text has no token to make a unit of."""
    empty = (~mask.any(dim=1)).nonzero()
    if len(empty):
        raise UserError(f"text {text_ids[int(empty[0])]}: has no words; remove it from the captions or give it a text")


def type_captions(
    texts: pd.DataFrame,
    units: pd.DataFrame,
    captions: Int[Tensor, "caption"],
    config: TextConfig,
    backbone: "Backbone",
    nlp: "Language",
    seed: int,
) -> TypedCaptions:
    """Draw captions among texts (TEXTS in the order of the store) and read them with typos.

    `units` is the parser's reading of the clean texts and stands for the truth. Captions of the gate and captions to
    fit on are different ones, and never more than a fifth and half of all.
    """
    rng = generator(seed, "typed captions")
    order = rng.permutation(captions.numpy())
    held = min(config.gate_texts, len(order) // 5)
    fitted = min(config.typed_texts, len(order) // 2)
    gate_rows, rows = order[:held], order[held : held + fitted]

    def typed(chosen: np.ndarray, rates: list[float]) -> tuple[pd.DataFrame, pd.DataFrame]:
        frame = texts.iloc[chosen][["text_id", "text"]].reset_index(drop=True)
        return with_typos(frame, units, rng.choice(rates, len(chosen)).tolist(), seed)

    frame, truth = typed(rows, [max(config.typos)])
    tokens = read_states(backbone, frame["text"].tolist())
    seen = CaptionData(tokens.states, tokens.mask, tokens.structure(truth, frame["text_id"].tolist()))
    gate = read_both(*typed(gate_rows, list(config.typos)), backbone, nlp)
    return TypedCaptions(torch.from_numpy(rows), seen, torch.from_numpy(gate_rows), gate)


def cut(structure: TokenStructure, length: int) -> TokenStructure:
    """The first tokens of every caption; arguments behind the cut become none."""
    return TokenStructure(
        structure.kind[:, :length],
        structure.begin[:, :length],
        torch.where(structure.subject >= length, -1, structure.subject)[:, :length],
        torch.where(structure.object >= length, -1, structure.object)[:, :length],
    )


def padded(structure: TokenStructure, length: int) -> TokenStructure:
    """The structure on `length` tokens, of which the further ones belong to no unit."""
    more = length - structure.kind.shape[1]
    return TokenStructure(
        F.pad(structure.kind, (0, more)),
        F.pad(structure.begin, (0, more)),
        F.pad(structure.subject, (0, more), value=-1),
        F.pad(structure.object, (0, more), value=-1),
    )
