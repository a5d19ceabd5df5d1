"""Parsers that this user's programs trained before: the same sentences are learned once on a machine."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vialign import random
from vialign.data.treebanks.penn import Sentence
from vialign.errors import UserError
from vialign.language import pipeline

if TYPE_CHECKING:
    from spacy.language import Language

CACHE = "VIALIGN_CACHE"
"""The environment variable that names the folder of what can be made again; `XDG_CACHE_HOME/vialign` without it."""


def kept_or_trained(sentences: Sequence[Sentence], *, epochs: int, seed: int) -> "Language":
    """`train_pipeline`, or what it gave for the same sentences, epochs, seed, code and spaCy the last time.

    A parser that was kept and cannot be read any more is trained again; where nothing can be written, none is kept.
    Raises UserError when `sentences` is empty.
    """
    place = cache_folder() / "parsers" / _key(sentences, epochs, seed)
    with suppress(UserError):
        return pipeline.load_pipeline(place)
    nlp = pipeline.train_pipeline(sentences, epochs=epochs, seed=seed)
    with suppress(OSError):  # also where another process kept the same one meanwhile
        pipeline.save_pipeline(nlp, place, {})
    return nlp


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vialign"


def _key(sentences: Sequence[Sentence], epochs: int, seed: int) -> str:
    made_by = [version("spacy"), version("thinc"), version("numpy"), epochs, seed]
    told = json.dumps([made_by, [asdict(sentence) for sentence in sentences]])
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (pipeline, random))
    return hashlib.sha256(code + told.encode()).hexdigest()[:32]
