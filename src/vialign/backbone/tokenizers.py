"""Tokenizers behind one small protocol, and from texts to a batch of ids.

A tokenizer cuts one text into its own tokens with their place in the text; what a tower wants around them (start, end,
padding) stands beside it, so that a batch is put together in one place.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from vialign.backbone.byte_pairs import BytePairTokenizer, byte_pair_tokenizer
from vialign.backbone.offsets import Span
from vialign.backbone.protocol import Tokens
from vialign.backbone.registry import model_definition
from vialign.backbone.tokenizer_file import FileTokenizer, download_tokenizer
from vialign.errors import UserError


@runtime_checkable
class TextTokenizer(Protocol):
    """Cuts texts into tokens."""

    context_length: int
    """Most tokens of a text, start and end included."""
    start: tuple[int, ...]
    """Ids before each text."""
    end: tuple[int, ...]
    """Ids after each text."""
    padding: int
    """Id that fills a row after its end."""
    description: str
    """What decides the ids, for the contract."""

    def pieces(self, text: str) -> tuple[list[int], list[Span]]:
        """The text's own tokens, all of them, and the characters of each."""
        ...


def make_tokenizer(
    architecture: str, definition: str | Path | None = None, file: str | Path | None = None
) -> BytePairTokenizer | FileTokenizer:
    """The tokenizer of an open_clip architecture, with the context length of its definition.

    `file` is the tokenizer.json (or a folder with one) of an architecture that does not use open_clip's byte pairs;
    without it the one that the architecture names is downloaded. Raises UserError when it cannot be had, is malformed,
    or has more tokens than the text tower's table.
    """
    text = model_definition(architecture, definition)["text_cfg"]
    if text.get("hf_model_name"):
        raise UserError(
            f"backbone.architecture: the text tower of {architecture} is the Hugging Face model "
            f"{text['hf_model_name']}, which vialign cannot read token by token; use a model with open_clip's own tower"
        )
    options = dict(text.get("tokenizer_kwargs") or {})
    name = text.get("hf_tokenizer_name")
    if name is None and "siglip" not in architecture.lower():
        if options.get("reduction_mask"):
            raise UserError(f"backbone.architecture: {architecture} masks random tokens, which vialign does not do")
        if file is not None:
            raise UserError(f"backbone.tokenizer: {architecture} uses open_clip's byte pairs; leave it out")
        return byte_pair_tokenizer(architecture, text, definition)
    clean, strip = options.pop("clean", "whitespace"), options.pop("strip_sep_token", False)
    if options:
        raise UserError(
            f"backbone.architecture: {architecture} sets tokenizer_kwargs.{next(iter(options))}, "
            "which vialign's tokenizers do not know"
        )
    if file is None:
        file = download_tokenizer(architecture, name)
    return FileTokenizer(file, text.get("context_length", 77), text.get("vocab_size", 49408), clean, strip_end=strip)


def to_tokens(tokenizer: TextTokenizer, texts: Sequence[str], kept_padding: int) -> Tokens:
    """A batch, cut to its longest text and `kept_padding` positions after it, at most as long as the context."""
    frame = len(tokenizer.start) + len(tokenizer.end)
    room = tokenizer.context_length - frame
    rows = [tokenizer.pieces(text) for text in texts]
    longest = max((min(len(ids), room) for ids, _ in rows), default=0)
    length = min(longest + frame + kept_padding, tokenizer.context_length)
    ids = torch.full((len(rows), length), tokenizer.padding, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    offsets = torch.zeros(len(rows), length, 2, dtype=torch.long)
    first = len(tokenizer.start)
    for row, (own, spans) in enumerate(rows):
        framed = [*tokenizer.start, *own[:room], *tokenizer.end]
        ids[row, : len(framed)] = torch.tensor(framed, dtype=torch.long)
        count = min(len(own), room)
        if count:
            offsets[row, first : first + count] = torch.tensor(spans[:count])
            mask[row, first : first + count] = True
    return Tokens(ids, mask, offsets, torch.tensor([len(own) > room for own, _ in rows], dtype=torch.bool))
