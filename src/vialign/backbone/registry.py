"""Models and tokenizers by architecture name: open_clip's own, the demo model, and user definitions.

A definition is an open_clip model JSON named `<architecture>.json`. Its `text_cfg.tokenizer_kwargs.bpe_path` may name
a merges file (plain text or gzip), relative to the JSON's folder; without it the tokenizer is open_clip's default.
"""

import difflib
import gzip
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from vialign.errors import UserError
from vialign.random import derive_seed

DEMO = "vialign-scenes"
"""Architecture of the backbone that ships with vialign."""
DEMO_MERGES = "scenes_merges.txt.gz"
ASSETS = Path(__file__).parent / "assets"
_HEADER = "#version: 0.2"


def model_definition(architecture: str, definition: str | Path | None = None) -> dict[str, Any]:
    """The open_clip settings of an architecture; a definition file is registered with open_clip under its name.

    Raises UserError when the architecture is unknown or the definition is missing, malformed or named otherwise.
    """
    if definition is None and architecture == DEMO:
        definition = ASSETS / f"{DEMO}.json"
    if definition is not None:
        _register(architecture, Path(definition))
    settings = open_clip.get_model_config(architecture) if architecture in open_clip.list_models() else None
    if settings is None:
        close = difflib.get_close_matches(architecture, open_clip.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()"
        raise UserError(f"backbone.architecture: open_clip knows no model {architecture!r}; {hint}")
    return settings


def definition_digest(settings: Mapping[str, Any]) -> str:
    """sha256 of an architecture's settings: two models with the same tensors may still differ (number of heads)."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def create_model(architecture: str, definition: str | Path | None = None, seed: int = 0, **settings: Any) -> nn.Module:
    """A freshly initialised open_clip model, the same for the same seed; global random state is left alone.

    `settings` go to `open_clip.create_model`. Raises UserError as `model_definition`, and when a definition does not
    make a model.
    """
    model_definition(architecture, definition)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(derive_seed(seed, "backbone", architecture))
        try:
            return open_clip.create_model(
                architecture, load_weights=False, pretrained_image=False, pretrained_text=False, **settings
            )
        except (TypeError, KeyError, ValueError, AssertionError) as error:
            where = definition or architecture
            raise UserError(f"{where}: not a model that open_clip can build: {error}; correct the definition") from None


def make_tokenizer(architecture: str, definition: str | Path | None = None) -> SimpleTokenizer:
    """The architecture's byte-pair tokenizer, with the context length of its definition.

    Raises UserError when the architecture uses another kind of tokenizer, the merges file is missing or malformed, or
    the vocabulary is larger than the token table of the text tower.
    """
    text = model_definition(architecture, definition)["text_cfg"]
    options = dict(text.get("tokenizer_kwargs") or {})
    other = text.get("hf_tokenizer_name") or options.get("reduction_mask") or "siglip" in architecture.lower()
    if other:
        raise UserError(f"backbone.architecture: {architecture} needs a tokenizer other than open_clip's byte-pair one")
    merges = options.pop("bpe_path", DEMO_MERGES if architecture == DEMO else None)
    source = "open_clip's merges"
    if merges is not None:
        folder = Path(definition).parent if definition is not None else ASSETS
        source = str(folder / merges)
        options["bpe_path"] = _packed(read_merges(folder / merges))
    tokenizer = SimpleTokenizer(context_length=text.get("context_length", 77), **options)
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
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a merges file: {error}") from None
    merges = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split()
        if len(pair) != 2:
            raise UserError(f"{path}, line {number}: expected two symbols separated by a space, found {line!r}")
        merges.append((pair[0], pair[1]))
    return merges


def _packed(merges: Iterable[tuple[str, str]]) -> io.BytesIO:
    """Merges as open_clip reads them: gzip, first line dropped, and no last newline, which would become a token."""
    return io.BytesIO(gzip.compress("\n".join([_HEADER, *(" ".join(pair) for pair in merges)]).encode()))


def _register(architecture: str, path: Path) -> None:
    if path.suffix != ".json" or path.stem != architecture:
        raise UserError(f"backbone.definition: {path} must be named {architecture}.json, as backbone.architecture says")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"backbone.definition: {path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in settings]
    if missing:
        raise UserError(f"{path}: not an open_clip model definition: {', '.join(missing)} missing")
    if open_clip.get_model_config(architecture) != settings:
        open_clip.add_model_config(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's warning that a model has random weights: that is what was asked for."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
