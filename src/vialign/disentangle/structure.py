"""Phrase units on tokens: from character spans to tokens, from token distributions to units.

A unit is a run of tokens of one kind; the attributes inside a noun phrase do not end it ("a *small* circle" is one
entity around one attribute). Everything here is vectorised over captions; a unit is named by its first token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vialign.disentangle.types import ATTRIBUTE, ENTITY, NONE, RELATION, TokenStructure, _Batch
from vialign.tables.language import UNIT_KINDS

if TYPE_CHECKING:
    from vialign.language.units import Unit


@dataclass(frozen=True)
class TokenDistributions(_Batch):
    """What a path believes about every token."""

    kind: Float[Tensor, "batch token 4"]
    """Probability of none, entity, attribute, relation."""
    begin: Float[Tensor, "batch token"]
    """Probability that the token is the first of its unit."""
    subject: Float[Tensor, "batch token place"]
    """Probability of each token to head the subject of the token's unit; the last place stands for none."""
    object: Float[Tensor, "batch token place"]
    """The same for the object."""


def align_units(
    units: pd.DataFrame,
    text_ids: Sequence[str],
    offsets: Int[Tensor, "text token 2"],
    mask: Bool[Tensor, "text token"],
) -> TokenStructure:
    """Write character spans (UNITS) on tokens; a token that touches several units belongs to the shortest.

    So an adjective inside a noun phrase is its own attribute unit, and the rest of the phrase is the entity. An
    argument is the last token of the argument's head word. Units of other texts, and units that the context length has
    cut off, are left out.
    """
    position = {name: row for row, name in enumerate(text_ids)}
    row = np.array([position.get(name, -1) for name in units["text_id"]], dtype=np.int64)
    kinds = np.array([_KIND_NUMBER[kind] for kind in units["kind"]], dtype=np.int64)
    numbers = [units[name].to_numpy(dtype=np.int64) for name in _NUMBERS]
    return _on_tokens(np.stack([row, kinds, *numbers])[:, row >= 0], offsets, mask)


def place_units(
    units: Sequence[Sequence["Unit"]],
    rows: Sequence[int],
    offsets: Int[Tensor, "text token 2"],
    mask: Bool[Tensor, "text token"],
) -> TokenStructure:
    """As `align_units`, of units that are in no table: those of the texts in these rows, in their order."""
    values = [
        (row, _KIND_NUMBER[unit.kind], number, *unit[1:])
        for row, own in zip(rows, units, strict=True)
        for number, unit in enumerate(own)
    ]
    return _on_tokens(np.array(values, dtype=np.int64).reshape(-1, len(_NUMBERS) + 2).T, offsets, mask)


_KIND_NUMBER = {kind: number for number, kind in enumerate(UNIT_KINDS, start=1)}
_NUMBERS = ("unit", "start", "end", "head_start", "head_end", "subject", "object")


def _on_tokens(
    units: Int[np.ndarray, "9 unit"], offsets: Int[Tensor, "text token 2"], mask: Bool[Tensor, "text token"]
) -> TokenStructure:
    """`units` are rows of texts, numbers of kinds, and the columns `_NUMBERS` of UNITS."""
    count, length = mask.shape
    units = units[:, np.argsort(units[3] - units[4], kind="stable")]  # the widest first
    row, kinds, column = units[0], units[1], dict(zip(_NUMBERS, units[2:], strict=True))
    begins, ends, real = offsets[..., 0].numpy()[row], offsets[..., 1].numpy()[row], mask.numpy()[row]

    def touching(start: str, end: str) -> np.ndarray:
        return (begins < column[end][:, None]) & (ends > column[start][:, None]) & real

    owner = np.full((count, length), -1, dtype=np.int64)
    unit, token = np.nonzero(touching("start", "end"))
    owner[row[unit], token] = unit  # later writes win: the shortest unit
    head = touching("head_start", "head_end")
    last = np.where(head.any(axis=1), length - 1 - head[:, ::-1].argmax(axis=1), -1)
    # The last token of each unit's head by text and number; the last place stands for what is no unit of the text.
    numbers = int(column["unit"].max(initial=-1)) + 1
    head_of = np.full((count, numbers + 1), -1, dtype=np.int64)
    head_of[row, column["unit"]] = last

    def argument(number: np.ndarray) -> np.ndarray:
        return head_of[row, np.where((number >= 0) & (number < numbers), number, numbers)]

    def on_tokens(values: np.ndarray, absent: int) -> Tensor:
        return torch.from_numpy(np.append(values, absent)[owner])  # where there is no owner, the last: absent

    return TokenStructure(
        on_tokens(kinds, NONE),
        torch.from_numpy(_first_owned(owner)),
        on_tokens(argument(column["subject"]), -1),
        on_tokens(argument(column["object"]), -1),
    )


def _first_owned(owner: np.ndarray) -> np.ndarray:
    """Whether a token is the first of its owner; owners never span captions."""
    begin = np.zeros(owner.shape, dtype=bool)
    rows, tokens = np.nonzero(owner >= 0)
    _, first = np.unique(owner[rows, tokens], return_index=True)
    begin[rows[first], tokens[first]] = True
    return begin


def group_tokens(kind: Int[Tensor, "batch token"], begin: Bool[Tensor, "batch token"]) -> Int[Tensor, "batch token"]:
    """The first token of every token's unit; -1 outside units.

    A unit begins where it says so, and wherever its kind does not continue: after a token of another kind (attributes
    aside), so that a missed beginning never joins two phrases.
    """
    length = kind.shape[1]
    place = torch.arange(length, device=kind.device).expand_as(kind)
    attribute, inside = kind == ATTRIBUTE, kind != NONE
    # One place is put before the first token, which is of no kind: what stands before each token is found there.
    shifted = F.pad(kind, (1, 0), value=NONE)
    solid = torch.where(attribute, 0, place + 1).cummax(dim=1).values
    before = shifted.gather(1, F.pad(solid, (1, 0))[:, :length])
    continued = torch.where(attribute, shifted[:, :length], before) == kind
    starts = inside & (begin | ~continued)
    kinds = torch.arange(NONE, RELATION + 1, device=kind.device)[None, :, None]
    of_kind = starts[:, None, :] & (kind[:, None, :] == kinds)
    latest = torch.where(of_kind, place[:, None, :], -1).cummax(dim=2).values
    return latest.gather(1, kind[:, None, :]).squeeze(1)


def smoothed(structure: TokenStructure, smoothing: float) -> TokenDistributions:
    """A parser's structure as distributions: its choice keeps 1 - smoothing, the rest is spread over all choices."""
    length = structure.kind.shape[1]

    def soften(hot: Tensor, choices: int) -> Tensor:
        return hot * (1 - smoothing) + smoothing / choices

    arguments = torch.stack([structure.subject, structure.object])
    pointers = F.one_hot(torch.where(arguments < 0, length, arguments), length + 1).float()
    subject, object_ = soften(pointers, length + 1)
    return TokenDistributions(
        soften(F.one_hot(structure.kind, 4).float(), 4), soften(structure.begin.float(), 2), subject, object_
    )


def mix(
    main: TokenDistributions, fallback: TokenDistributions, gate: Float[Tensor, "batch token"]
) -> TokenDistributions:
    """Share `gate` of the main path and the rest of the fallback, token by token."""

    def blend(first: Tensor, second: Tensor) -> Tensor:
        share = gate.reshape(*gate.shape, *[1] * (first.dim() - 2))
        return share * first + (1 - share) * second

    return TokenDistributions(
        blend(main.kind, fallback.kind),
        blend(main.begin, fallback.begin),
        blend(main.subject, fallback.subject),
        blend(main.object, fallback.object),
    )


def joint_segments(
    main: TokenDistributions, parsed: TokenStructure, mask: Bool[Tensor, "batch token"]
) -> Int[Tensor, "batch token"]:
    """Number of each token's segment: the shortest runs of tokens that cut no noun phrase and no relation of either.

    A gate that changes inside a unit leaves pieces of both readings' units, so a segment is taken or left as a whole.
    """
    kind = torch.where(mask, main.kind.argmax(dim=-1), NONE)
    both = _joined(torch.cat([kind, parsed.kind]), torch.cat([main.begin > 0.5, parsed.begin]))
    joined = both[: len(kind)] | both[len(kind) :]
    return (~joined).cumsum(dim=1) - 1


def _joined(kind: Int[Tensor, "batch token"], begin: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch token"]:
    """Whether a unit, or a noun phrase with its attributes, reaches from the tokens before each one to it."""
    length = kind.shape[1]
    place = torch.arange(length, device=kind.device)
    owner = group_tokens(kind, begin)
    last = torch.where(owner[:, None, :] == place[:, None], place, -1).amax(dim=2)
    reach = torch.where(owner < 0, -1, last.gather(1, owner.clamp_min(0))).cummax(dim=1).values
    covered = F.pad(reach, (1, 0), value=-1)[:, :length] >= place
    before = F.pad(kind, (1, 0), value=NONE)[:, :length]
    noun_phrase = (kind == ATTRIBUTE) & ((before == ENTITY) | (before == ATTRIBUTE))
    noun_phrase |= (kind == ENTITY) & (before == ATTRIBUTE)
    return covered | noun_phrase


def segment_means(
    values: Float[Tensor, "batch token"], segment: Int[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """Mean of each segment's real tokens, at all of its tokens; 0 where it has none."""
    empty = torch.zeros_like(values)
    total = empty.scatter_add(1, segment, values * mask)
    count = empty.scatter_add(1, segment, mask.to(values.dtype))
    return (total / count.clamp_min(1)).gather(1, segment)


def decode(distributions: TokenDistributions, mask: Bool[Tensor, "batch token"]) -> TokenStructure:
    """The most probable structure: kinds token by token, then runs, then one argument for each unit.

    A unit's tokens vote on its arguments; only entities can be arguments, only relations have objects.
    """
    kind = torch.where(mask, distributions.kind.argmax(dim=-1), NONE)
    owner = group_tokens(kind, distributions.begin > 0.5)
    place = torch.arange(kind.shape[1], device=kind.device)
    members = (owner[:, None, :] == place[:, None]).to(distributions.subject.dtype)
    allowed = F.pad(kind == ENTITY, (0, 1), value=True)[:, None, :]
    # Subject and object in one go, side by side in the first dimension.
    votes = torch.where(allowed, members @ torch.stack([distributions.subject, distributions.object]), -1.0)
    chosen = votes.argmax(dim=-1).gather(2, owner.clamp_min(0).expand(2, -1, -1))
    applies = torch.stack([kind >= ATTRIBUTE, kind == RELATION])
    subject, object_ = torch.where(applies & (chosen < kind.shape[1]), chosen, -1)
    return TokenStructure(kind, owner == place, subject, object_)


@dataclass(frozen=True)
class UnitSlots(_Batch):
    """The units of a caption in a fixed number of slots."""

    members: Bool[Tensor, "batch unit token"]
    """Tokens of each unit; an entity has its attributes' tokens too, so that it means "red circle"."""
    kind: Int[Tensor, "batch unit"]
    subject: Int[Tensor, "batch unit"]
    object: Int[Tensor, "batch unit"]


def fill_slots(structure: TokenStructure, mask: Bool[Tensor, "batch token"], units: int) -> UnitSlots:
    """Put a decoded structure into `units` slots, in the order of the units' first tokens.

    Where a caption has more units, attributes are dropped first (their tokens stay in their entity), then the last
    ones. A caption without any unit is one entity unit over all its tokens.
    """
    kind, length = structure.kind, structure.kind.shape[1]
    owner = group_tokens(kind, structure.begin)
    place = torch.arange(length, device=kind.device)
    key = torch.where(owner == place, place + length * (kind == ATTRIBUTE), 2 * length)
    key = F.pad(key, (0, max(0, units - length)), value=2 * length).topk(units, dim=1, largest=False).values
    first = torch.where(key < 2 * length, key % length, length).sort(dim=1).values
    real = first < length
    slots = torch.full((len(kind), length + 1), -1, dtype=torch.long, device=kind.device)
    slots.scatter_(1, first, torch.arange(units, device=kind.device).expand_as(first))
    slots[:, length] = -1

    def slot_of(token: Tensor) -> Tensor:
        """Slot of the unit that a token (or -1) belongs to."""
        return slot_of_token.gather(1, torch.where(token < 0, length, token))

    number = torch.arange(units, device=kind.device)[None, :, None]
    slot_of_token = F.pad(slots.gather(1, torch.where(owner < 0, length, owner)), (0, 1), value=-1)
    own, subject = slot_of_token[:, :length], slot_of(structure.subject)
    modified = torch.where(kind == ATTRIBUTE, subject, -1)
    members = (own[:, None, :] == number) | (modified[:, None, :] == number)
    at_first = first.clamp_max(length - 1)
    kinds = torch.where(real, kind.gather(1, at_first), NONE)
    empty = ~real.any(dim=1)
    members[:, 0] |= empty[:, None] & mask
    kinds[:, 0] = torch.where(empty, ENTITY, kinds[:, 0])

    def argument(slot: Tensor) -> Tensor:
        return torch.where(real, slot.gather(1, at_first), -1)

    return UnitSlots(members, kinds, argument(subject), argument(slot_of(structure.object)))
