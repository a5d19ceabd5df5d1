"""The order tasks of ARO (Yuksekgonul et al. 2023, arXiv:2210.01936, section 2.3): a caption against shuffles of it.

The authors shuffle anew in every run. Here the wrong texts are drawn once, from the captions of a data set's test
images, and kept in a file with its version, its seed and its hash, so that every run scores the same texts. Unlike in
the authors' program, captions are split into words and cut before they are shuffled, so that every wrong text has
exactly the words of the true one, and a wrong text is never equal to the true one.

The file: JSON lines, the first a header, every further one a caption with its perturbations (`null` where every draw
gave a text that is there already).
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from vialign.data.published_files import Record, SourceNote
from vialign.errors import UserError, not_the_file, reading
from vialign.files.artifacts import write_text
from vialign.files.text import decode_text, unix_ends
from vialign.progress import track_blocks
from vialign.random import generator
from vialign.tables.data import CHOICES

VERSION = 1
"""Of the file and of the rules by which it is made."""
KINDS = ("nouns_adjectives", "others", "within_trigrams", "trigrams")
"""Perturbations, in the order of the candidates: nouns among themselves and adjectives among themselves; all other
words; the words inside every three; the threes."""
ATTEMPTS = 10
"""Draws before a perturbation that changes nothing is left out."""
WORDS = 30
"""Words that are kept of a caption, as in the authors' program."""
NOTE = SourceNote(
    title="ARO: COCO and Flickr30k Order",
    licence="that of the captions",
    obtain="Made once from the test captions of COCO or Flickr30k and kept; the file says its version, seed and hash.",
    files=("aro_coco_order.jsonl or aro_flickr_order.jsonl",),
)

Tags = Callable[[Sequence[str]], Sequence[Sequence[tuple[str, str]]]]
"""Splits texts into words with their Penn Treebank tags."""

_NOUNS = ("NN", "NNS", "NNP", "NNPS")
_ADJECTIVES = ("JJ", "JJR", "JJS")
_MARKS = re.compile(r'[.!"()*#:;~]')
_BLOCK = 500
"""Captions that are tagged at a time."""


class _Header(Record):
    version: int
    name: str
    seed: int
    left_out: dict[str, int]
    sha256: str


class _Row(Record):
    caption_id: str
    image_id: str
    true_caption: Annotated[str, Field(min_length=1)]
    perturbations: dict[str, str | None]


@dataclass(frozen=True)
class OrderFile:
    """What a file of order perturbations holds."""

    name: str
    """Its benchmark, such as `aro_coco_order`."""
    seed: int
    left_out: Mapping[str, int]
    """Perturbations that were left out, by kind, and `captions`: those that have none at all."""
    rows: pd.DataFrame
    """Columns caption_id, image_id, true_caption and perturbations (a list of texts, at least one)."""


def build_order_file(captions: pd.DataFrame, path: Path, seed: int, name: str, tags: Tags) -> None:
    """Draw the perturbations of every caption and write them.

    `captions` has the columns caption_id, image_id and text, `name` is that of the benchmark. What is drawn for a
    caption depends on its id, its text and the seed alone. A caption without any perturbation (one word, or the same
    word throughout) is left out and counted in the header.
    """
    rows: list[dict[str, object]] = []
    left_out: Counter[str] = Counter({kind: 0 for kind in ("captions", *KINDS)})
    ordered = captions.sort_values("caption_id")
    blocks = [ordered.iloc[start : start + _BLOCK] for start in range(0, len(ordered), _BLOCK)]
    for block in track_blocks(blocks, f"shuffle {name}", len(ordered)):
        tagged = tags(block["text"].tolist())
        for caption, words in zip(block.to_dict("records"), tagged, strict=True):
            kept = plain_words(words)
            shuffled = perturbations(kept, generator(seed, "aro_order", caption["caption_id"]))
            if not any(shuffled.values()):
                left_out["captions"] += 1
                continue
            left_out.update(kind for kind, text in shuffled.items() if text is None)
            rows.append(
                {
                    "caption_id": caption["caption_id"],
                    "image_id": caption["image_id"],
                    "true_caption": " ".join(word for word, _ in kept),
                    "perturbations": shuffled,
                }
            )
    header = {"version": VERSION, "name": name, "seed": seed, "left_out": dict(left_out)}
    body = "".join(json.dumps(row) + "\n" for row in rows)
    write_text(json.dumps({**header, "sha256": _hash(header, body)}) + "\n" + body, path)


def read_order_file(path: Path) -> OrderFile:
    """Read a file of `build_order_file`.

    Raises UserError when it is missing, is none, is of another version, or is no longer what was written.
    """
    mend = "restore it, or make it again from the captions"
    with reading(path, mend):
        raw = path.read_bytes()
    instead = not_the_file(path)
    if instead is not None:
        raise UserError(f"{path}: {instead}")
    try:
        head, _, body = unix_ends(decode_text(raw)).partition("\n")
        header = _Header.model_validate_json(head)
    except (UnicodeDecodeError, ValidationError):
        raise UserError(f"{path}: is not a file of order perturbations; {mend}") from None
    if header.version != VERSION:
        raise UserError(f"{path}: has version {header.version}, this program knows {VERSION}; {mend}")
    if header.sha256 != _hash(header.model_dump(exclude={"sha256"}), body):
        raise UserError(f"{path}: is not what was written (its sha256 differs); {mend}")
    try:
        rows = [_Row.model_validate_json(line) for line in body.split("\n") if line]
    except ValidationError:
        raise UserError(f"{path}: holds a row that is not of version {VERSION}; {mend}") from None
    frame = pd.DataFrame([row.model_dump() for row in rows], columns=list(_Row.model_fields))
    frame["perturbations"] = [
        [row.perturbations[kind] for kind in KINDS if row.perturbations.get(kind)] for row in rows
    ]
    return OrderFile(header.name, header.seed, header.left_out, frame)


def order_choices(order: OrderFile, split: str) -> pd.DataFrame:
    """CHOICES of an order file, whose images belong to `split`."""
    rows = [
        {
            "item_id": f"{order.name}/{split}/{row['caption_id']}",
            "benchmark": order.name,
            "split": split,
            "tag": "order",
            "images": [row["image_id"]],
            "texts": [row["true_caption"], *row["perturbations"]],
            "right": None,
        }
        for row in order.rows.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=list(CHOICES.columns))


def plain_words(words: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most `WORDS` words in lower case without the marks that the authors' program drops, with their tags."""
    plain = [(" ".join(_MARKS.sub(" ", word.lower()).split()), tag) for word, tag in words]
    return [(word, tag) for word, tag in plain if word][:WORDS]


def perturbations(words: Sequence[tuple[str, str]], rng: np.random.Generator) -> dict[str, str | None]:
    """Text by kind; None where `ATTEMPTS` draws gave only the true text or that of an earlier kind."""
    seen = {" ".join(word for word, _ in words)}
    found: dict[str, str | None] = {}
    for kind in KINDS:
        draws = (" ".join(words[place][0] for place in _order(kind, words, rng)) for _ in range(ATTEMPTS))
        found[kind] = next((text for text in draws if text not in seen), None)
        seen.add(found[kind] or "")
    return found


def _order(kind: str, words: Sequence[tuple[str, str]], rng: np.random.Generator) -> list[int]:
    """Places of the words after one draw."""
    places = np.arange(len(words))
    tags = np.array([tag for _, tag in words], dtype=str)
    nouns, adjectives = np.isin(tags, _NOUNS), np.isin(tags, _ADJECTIVES)
    threes = [places[start : start + 3] for start in range(0, len(words), 3)]
    if kind == "trigrams":
        return [int(place) for three in rng.permutation(len(threes)) for place in threes[three]]
    groups = {
        "nouns_adjectives": [places[nouns], places[adjectives]],
        "others": [places[~(nouns | adjectives)]],
        "within_trigrams": threes,
    }[kind]
    order = places.copy()
    for group in groups:
        order[group] = rng.permutation(group)
    return order.tolist()


def _hash(header: Mapping[str, object], body: str) -> str:
    return hashlib.sha256(f"{json.dumps(header, sort_keys=True)}\n{body}".encode()).hexdigest()
