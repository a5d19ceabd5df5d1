"""open_clip's byte-pair tokenizer, with merges of a model's own where its definition names them.

`text_cfg.tokenizer_kwargs.bpe_path` of a definition may name a merges file (plain text or gzip), relative to the
definition's folder; without it the merges are open_clip's.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer

from vialign.backbone.offsets import Span, encode_with_offsets
from vialign.backbone.registry import ASSETS, DEMO
from vialign.errors import UserError, not_the_file, one_line, reading
from vialign.files.text import decode_text, unix_ends

DEMO_MERGES = "scenes_merges.txt.gz"
_HEADER = "#version: 0.2"


class BytePairTokenizer(SimpleTokenizer):
    """open_clip's own, with what `vialign.backbone.tokenizers.TextTokenizer` asks for."""

    padding = 0

    def __init__(self, merges: bytes | None = None, **settings: Any) -> None:
        super().__init__(**settings if merges is None else {**settings, "bpe_path": io.BytesIO(merges)})
        self.merges = merges
        """Of a model's own, as open_clip reads them from a file; None where they are open_clip's."""
        self.start, self.end = (self.sot_token_id,), (self.eot_token_id,)
        self.description = (
            f"SimpleTokenizer, {vocabulary_size(self)} tokens, context {self.context_length}, "
            f"merges {merges_digest(self)[:16]}"
        )

    def pieces(self, text: str) -> tuple[list[int], list[Span]]:
        """As `encode(text)`, with the characters of each token."""
        return encode_with_offsets(self, text)


def byte_pair_tokenizer(
    architecture: str, text: Mapping[str, Any], definition: str | Path | None = None
) -> BytePairTokenizer:
    """The tokenizer of an architecture whose `text_cfg` is `text`, with the context length that stands there.

    Raises UserError when the merges file is missing or malformed, or the vocabulary is larger than the token table of
    the text tower.
    """
    options = dict(text.get("tokenizer_kwargs") or {})
    merges = options.pop("bpe_path", DEMO_MERGES if architecture == DEMO else None)
    source, own = "open_clip's merges", None
    if merges is not None:
        folder = Path(definition).parent if definition is not None else ASSETS
        source = str(folder / merges)
        own = _packed(read_merges(folder / merges))
    tokenizer = BytePairTokenizer(own, context_length=text.get("context_length", 77), **options)
    expected, found = text.get("vocab_size", 49408), vocabulary_size(tokenizer)
    if found > expected:
        raise UserError(
            f"{definition or architecture}: text_cfg.vocab_size is {expected}, but {source} need {found} rows "
            "(512 bytes + merges + 2); set vocab_size, or name the merges in text_cfg.tokenizer_kwargs.bpe_path"
        )
    return tokenizer


def vocabulary_size(tokenizer: SimpleTokenizer) -> int:
    """Rows that an embedding table needs: 256 bytes, 256 word-final bytes, the merges, start and end."""
    return max(tokenizer.encoder.values()) + 1


def merges_digest(tokenizer: SimpleTokenizer) -> str:
    """sha256 of the ordered merges, which with the byte alphabet decide every token."""
    lines = "\n".join(" ".join(pair) for pair in sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_merges(path: str | Path) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first: one pair a line, separated by a space; a `#version` line may come first.

    Plain UTF-8 text or gzip. Raises UserError naming the line that is not a pair.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError:
        raise UserError(f"{path}: no such merges file; text_cfg.tokenizer_kwargs.bpe_path names it") from None
    try:
        with reading(path):
            text = unix_ends(decode_text(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw))
    except (OSError, EOFError, zlib.error) as error:
        said = not_the_file(path) or f"not a merges file ({one_line(error)}); get it again"
        raise UserError(f"{path}: {said}") from None
    merges = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split()
        if len(pair) != 2:
            raise UserError(f"{path}, line {number}: expected two symbols separated by a space, found {line!r}")
        merges.append((pair[0], pair[1]))
    return merges


def _packed(merges: Iterable[tuple[str, str]]) -> bytes:
    """Merges as open_clip reads them: gzip, first line dropped, and no last newline, which would become a token."""
    return gzip.compress("\n".join([_HEADER, *(" ".join(pair) for pair in merges)]).encode(), mtime=0)
