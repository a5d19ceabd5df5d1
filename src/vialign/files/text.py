"""The one way to open text: UTF-8 with or without a byte order mark, with the line ends of any system.

Also the other direction: writing to a console of any encoding.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vialign.errors import UserError, is_utf_16, not_the_file, one_line, reading

MARK = b"\xef\xbb\xbf"
"""The byte order mark that editors of Windows put in front of UTF-8 text."""
CUT_OFF = "the file may be cut off, download it again"
_SHOWN = 60
_DEEPEST = 64
"""Levels of a YAML file: no configuration has ten, and PyYAML's time grows with the square of a line's brackets."""
_OTHER_NUMBER = re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+(?::[0-9_]+)+(?:\.[0-9_]*)?)")


class NotJson(ValueError):
    """Text that is no JSON; the message says why, in words that follow the name of the file."""

    def __init__(self, reason: str, place: int | None = None) -> None:
        super().__init__(reason)
        self.place = place
        """Character at which reading stopped, from 0, where it is known."""


def decode_text(raw: bytes) -> str:
    """Text of UTF-8 bytes, without the mark that may stand in front. Raises UnicodeDecodeError."""
    if is_utf_16(raw):
        raise UnicodeDecodeError("utf-8", raw, 0, 2, "UTF-16")
    return raw.decode("utf-8").removeprefix("\ufeff")


def read_text(path: str | Path, dataset: str = "") -> str:
    """The whole of a text file, its line ends as they are; `dataset` stands before its name in an error.

    Raises UserError where it cannot be read, is something else, or is not UTF-8, with the byte and the line of that.
    """
    with reading(path, dataset=dataset):
        raw = Path(path).read_bytes()
        instead = not_the_file(path) if raw else None
        if instead is not None:
            raise UserError(f"{_place(path, dataset)}: {instead}")
        return decode_text(raw)


def unix_ends(text: str) -> str:
    r"""The text with `\n` at the end of every line.

    `\r` alone ends a line only where the text has no `\n` at all: in any other it is a stray character of a line.
    """
    return re.sub(r"\r+\n", "\n", text) if "\n" in text else text.replace("\r", "\n")


def text_lines(path: str | Path, dataset: str = "") -> Iterator[tuple[int, str]]:
    """Lines of a text file without their ends, numbered from 1. Raises UserError as `read_text`."""
    lines = unix_ends(read_text(path, dataset)).split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield number, line.rstrip("\r")


def read_json(
    path: str | Path, dataset: str = "", mend: str = CUT_OFF, *, unique: bool = True, finite: bool = False
) -> Any:
    """The whole of a JSON file, as `parse_json`.

    Raises UserError as `read_text`, and with line and column where it is cut off or malformed; `mend` says what to do.
    """
    text = read_text(path, dataset)
    if not text:
        raise UserError(f"{_place(path, dataset)}: is empty; get it again")
    try:
        return parse_json(text, unique=unique, finite=finite)
    except NotJson as error:
        where = ""
        if error.place is not None:
            end = "\n" if "\n" in text else "\r"
            before = text[: error.place]
            where = f"line {before.count(end) + 1}, column {len(before) - before.rfind(end)}: "
        raise UserError(f"{_place(path, dataset)}: {where}{error}; {mend}") from error


def parse_json(text: str | bytes, *, unique: bool = True, finite: bool = False) -> Any:
    """What a JSON text holds. Raises NotJson, also for a number or a depth that no file of data has.

    A key that stands twice in one object is refused unless not `unique`: of two values one would be lost in silence.
    NaN and Infinity, which are no JSON but which Python writes, are refused where `finite`; rows of data may hold them,
    and a row in which a number is wanted is then counted as broken by whoever reads it.
    """
    try:
        return json.loads(
            decode_text(text) if isinstance(text, bytes) else text,
            object_pairs_hook=_once_each if unique else None,
            parse_constant=_refuse if finite else None,
        )
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"is not JSON ({error.msg})", error.pos) from error
    except UnicodeDecodeError as error:
        raise NotJson(f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except RecursionError as error:
        raise NotJson("is nested too deeply to be this file") from error
    except ValueError as error:
        raise NotJson("holds a number too long to be this file") from error
    except MemoryError as error:
        raise NotJson("does not fit into memory") from error


class _NothingSilent(yaml.SafeLoader):
    """YAML in which no key may stand twice in one mapping, as the last one would win, and no number may be another.

    YAML 1.1 reads 0100 as 64 and 1:30 as 90.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth == _DEEPEST:
            said = f"is nested more than {_DEEPEST} levels deep"
            raise yaml.composer.ComposerError(None, None, said, self.peek_event().start_mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_plain_number(self, node: yaml.ScalarNode) -> int | float:
        if _OTHER_NUMBER.fullmatch(node.value):
            said = (
                f"{node.value!r} is another number in YAML (a zero in front is octal, colons are sixties); write it out"
            )
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        if node.tag.endswith(":int"):
            return self.construct_yaml_int(node)
        return self.construct_yaml_float(node)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            earlier = first.setdefault((key.tag, key.value), key)
            if earlier is not key:
                raise _Twice(key.value, earlier.start_mark.line + 1, key.start_mark.line + 1)
        return node


for _kind in ("int", "float"):
    _NothingSilent.add_constructor(f"tag:yaml.org,2002:{_kind}", _NothingSilent.construct_plain_number)


class _Twice(Exception):
    """The key, and both lines."""


def read_yaml(path: str | Path, what: str = "config") -> Any:
    """What a YAML file holds; `what` stands before its name in an error.

    Raises UserError as `read_text`, and where it is no YAML or a key stands twice in one mapping.
    """
    text = read_text(path, what)
    with reading(path, "correct it", what):
        try:
            return yaml.load(text, _NothingSilent)
        except _Twice as error:
            key, first, again = error.args
            raise UserError(
                f"{_place(path, what)}: key `{key}` stands twice in one section, on line {first} and line {again}; "
                "keep one of them"
            ) from None
        except yaml.YAMLError as error:
            raise UserError(f"{_place(path, what)}: not valid YAML: {one_line(error)}") from None


def any_console() -> None:
    """Let what is printed reach a console of any encoding: a sign that it does not have is written as its code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_page(text: str) -> None:
    """Print a page that is meant for a file: in UTF-8 wherever it is redirected, whatever the console's encoding is."""
    if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        begins = ", ".join(f"{json.dumps(name)}: {value!r}" for name, value in pairs if name != twice)[:_SHOWN]
        where = f" (the object with {begins})" if begins else ""
        raise NotJson(f"has the key {json.dumps(twice)} twice in one object{where}")
    return found


def _refuse(name: str) -> None:
    raise NotJson(f"holds {name}, which is no number of JSON")


def _place(path: str | Path, dataset: str) -> str:
    return f"{dataset}: {path}" if dataset else str(path)


def with_block(page: str, name: str, marks: tuple[str, str], block: str) -> str:
    """A page with what stands between its two marks replaced by `block`, which ends in a newline.

    Raises UserError when the marks are not there; `name` is the page's.
    """
    before, first, rest = page.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not (first and last):
        raise UserError(f"{name}: has not the lines {marks[0]!r} and {marks[1]!r}; put them where the block belongs")
    return f"{before}{first}\n{block}{last}{after}"
