"""Texts that no store holds, read now: token states, the parser's reading, and the truth, all on the same tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.disentangle.structure import align_units
from vialign.disentangle.types import TokenStructure
from vialign.language.units import extract_units
from vialign.progress import track_starts

if TYPE_CHECKING:
    from spacy.language import Language

    from vialign.backbone import Backbone


@dataclass(frozen=True)
class TokenStates:
    """Token states of texts, from the frozen tower."""

    states: Float[Tensor, "text token dim"]
    """float16, zero after a text's end."""
    mask: Bool[Tensor, "text token"]
    offsets: Int[Tensor, "text token 2"]
    """Characters of every token."""
    cut: Bool[Tensor, "text"]
    """Whether the text fills the tower's context, so that its end may be cut off."""

    def structure(self, units: pd.DataFrame, text_ids: list[str]) -> TokenStructure:
        """UNITS of the texts on their tokens; what lies behind the cut is left out."""
        return align_units(units, text_ids, self.offsets, self.mask)


@dataclass(frozen=True)
class Readings:
    """Texts as both paths get to see them, with what is true of them."""

    tokens: TokenStates
    parsed: TokenStructure
    truth: TokenStructure


@torch.inference_mode()
def read_states(backbone: "Backbone", texts: list[str], batch: int = 128) -> TokenStates:
    """Token states of texts in memory; texts of like length go through the tower together."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = []
    for start in track_starts(len(order), batch, "read texts"):
        tokens = backbone.tokenize([texts[row] for row in order[start : start + batch]])
        _, states = backbone.text_tokens(tokens.ids.to(backbone.device))
        found.append(((states.cpu() * tokens.mask[..., None]).half(), tokens.mask, tokens.offsets))
    longest = max(mask.shape[1] for _, mask, _ in found)
    back = torch.from_numpy(np.argsort(order, kind="stable"))

    def joined(place: int) -> Tensor:
        blocks = [block[place] for block in found]
        after = [(0, 0) * (block.dim() - 2) + (0, longest - block.shape[1]) for block in blocks]
        return torch.cat([F.pad(block, pad) for block, pad in zip(blocks, after, strict=True)])[back]

    mask = joined(1)
    return TokenStates(joined(0), mask, joined(2), mask.sum(dim=1) >= backbone.context_length - 2)


def read_both(texts: pd.DataFrame, gold: pd.DataFrame, backbone: "Backbone", nlp: "Language") -> Readings:
    """Both paths' view of texts (columns `text_id`, `text`) and their truth (`gold`, UNITS)."""
    tokens = read_states(backbone, texts["text"].tolist())
    return parse_again(texts, gold, tokens, nlp)


def parse_again(texts: pd.DataFrame, gold: pd.DataFrame, tokens: TokenStates, nlp: "Language") -> Readings:
    """The same for texts whose tokens are read already."""
    ids = texts["text_id"].tolist()
    units, _ = extract_units(texts, nlp)
    return Readings(tokens, tokens.structure(units, ids), tokens.structure(gold, ids))
