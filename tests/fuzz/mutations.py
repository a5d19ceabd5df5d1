"""Ways in which a file breaks: on bytes, on the values of JSON, on the cells of a table. All are drawn by a seed."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"
EIGHTHS = 7


class Raw(str):
    """A value that is written as it stands, for what `json` would not write."""


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3.5,
    10**30,
    -(10**400),
    1e308,
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("1" * 5000),
    "",
    " ",
    "7",
    "nan",
    "x" * 5000,
    "\0",
    "a\nb",
    "../../etc/passwd",
    "/etc/passwd",
    "&nbsp;",
    Raw('"\\ud800"'),
    [],
    {},
    [[]],
    {"a": None},
    [None, 1, "x"],
    Raw("[" * 3000 + "]" * 3000),
)
"""Values of another type or size than any field has."""
CELLS = ("", " ", "-1", "0", "1e999", "NaN", "9" * 400, "x" * 5000, "\0", "\ud7ff", '"', "#", "../a", "/", "1-", "1.5")
"""Cells that no column of a table has."""


def mutate(content: bytes, kind: str, seed: int) -> tuple[bytes, str]:
    """The content broken in the way that the seed draws, and what was done to it.

    The first seeds cut it at every eighth of its length, empty it, double it, and put a pointer and a web page in its
    place; the further ones are drawn. `kind` is `bytes`, `json`, `jsonl`, or `lines`, whose cells are split by any of
    tab, comma, bar and space.
    """
    first: tuple[Callable[[], bytes], ...] = (
        *(lambda part=part: content[: len(content) * part // (EIGHTHS + 1)] for part in range(1, EIGHTHS + 1)),
        lambda: b"",
        lambda: content + content,
        lambda: POINTER,
        lambda: PAGE,
    )
    if seed < len(first):
        names = [*(f"cut at {part}/8" for part in range(1, EIGHTHS + 1)), "emptied", "doubled", "pointer", "page"]
        return first[seed](), names[seed]
    draw = random.Random(f"{kind} {seed}")
    structured = {"json": _json, "jsonl": _json_lines, "lines": _lines}.get(kind)
    how = structured if structured is not None and draw.random() < 0.7 else _bytes
    broken = how(content, draw)
    return broken, how.__name__.strip("_")


def _bytes(content: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, put in, taken out, zeroed or doubled."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if not data:
            break
        place, length = draw.randrange(len(data)), draw.choice((1, 1, 2, 4, 8, 64))
        how = draw.randrange(6)
        if how == 0:
            data[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            data[place] = draw.choice((0, 1, 10, 32, 34, 127, 128, 255))
        elif how == 2:
            data[place:place] = draw.randbytes(length)
        elif how == 3:
            del data[place : place + length]
        elif how == 4:
            data[place : place + length] = b"\0" * len(data[place : place + length])
        else:
            data[place:place] = data[place : place + 8 * length]
    return bytes(data)


def _json(content: bytes, draw: random.Random) -> bytes:
    """Some values of a JSON document made odd, taken out or doubled."""
    document = json.loads(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        document = _change(document, draw)
    return _text(document).encode("utf-8", "surrogatepass")


def _json_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines()
    place = draw.randrange(len(lines))
    lines[place] = _text(_change(json.loads(lines[place]), draw)).replace("\n", " ")
    if draw.random() < 0.3:
        lines.insert(draw.randrange(len(lines)), draw.choice(lines))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _change(document: Any, draw: random.Random) -> Any:
    """The document with the value at a drawn place changed."""
    if isinstance(document, dict | list) and document and draw.random() < 0.9:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        key, how = draw.choice(keys), draw.random()
        if how < 0.1:
            del document[key]
        elif how < 0.2 and isinstance(document, list):
            document.append(document[key])
        elif how < 0.25 and isinstance(document, dict):
            document[draw.choice(("", "x", "id", "images"))] = document[key]
        else:
            document[key] = _change(document[key], draw)
        return document
    return copy.deepcopy(draw.choice(ODD))  # lists among them are changed in turn


def _text(value: Any) -> str:
    """JSON, with `Raw` values as they stand."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_text(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value)


def _lines(content: bytes, draw: random.Random) -> bytes:
    """Some lines, or cells of them, changed, taken out, doubled or exchanged."""
    lines = content.decode("utf-8").split("\n")
    for _ in range(draw.choice((1, 1, 2, 4))):
        place, how = draw.randrange(len(lines)), draw.randrange(6)
        separator = next((mark for mark in "\t|, " if mark in lines[place]), ",")
        cells = lines[place].split(separator)
        cell = draw.randrange(len(cells))
        if how == 0:
            lines.insert(place, lines[draw.randrange(len(lines))])
        elif how == 1:
            cells[cell] = draw.choice(CELLS)
        elif how == 2:
            cells.insert(cell, draw.choice(CELLS))
        elif how == 3:
            del cells[cell]
        elif how == 4:
            separator = draw.choice(("", " ", ";", "\t", "\r", "\r\n", "\x0c"))
        else:
            other = draw.randrange(len(cells))
            cells[cell], cells[other] = cells[other], cells[cell]
        if how:
            lines[place] = separator.join(cells)
    return "\n".join(lines).encode("utf-8")
