"""Every key of the configuration with its meaning: as JSON schema, and as the page docs/configuration.md."""

import ast
import functools
import importlib
import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from vialign.config.experiment import Config
from vialign.config.section import Section

Node = Mapping[str, Any]
"""A part of a JSON schema."""
ESCAPED = "\\|"
"""A bar inside a cell of a Markdown table."""

INTRODUCTION = """\
# Configuration reference

<!-- made by `vialign config reference`; `make schema` writes it anew -->
An experiment is one YAML file, or several that are laid over each other key by key, the later over the earlier.
`config.yaml` is read first, so a file holds only what differs from it and from the defaults below:

```sh
snakemake --cores 8 --configfile configs/tiny.yaml -- all
vialign config check config.yaml configs/tiny.yaml
```

A key that is not on this page is an error. `${NAME}` and `${NAME:-default}` in a text are read from the environment. A
change of a section re-runs the stages that read it, and no others. `vialign config schema` prints the same as a JSON
schema, for editors.
"""


def config_schema() -> dict[str, Any]:
    """The JSON schema of a configuration, with the text that stands under each key as its description."""
    schema = Config.model_json_schema()
    for section in _subclasses(Section):
        node = schema if section is Config else schema["$defs"].get(section.__name__, {"properties": {}})
        for key, meaning in _meanings(section).items():
            if key in node["properties"]:
                described = {**node["properties"][key], "description": meaning}
                node["properties"][key] = dict(sorted(described.items()))
    return schema


def reference_page() -> str:
    """The page as Markdown: a heading a section, a row a key with its type, its default and what it means."""
    schema = config_schema()
    return INTRODUCTION + "".join(_sections(schema, schema, ""))


def type_words(node: Node) -> str:
    """A key's type in words, with its bounds: `integer ≥ 1`, `text or null`, `list of number in [0, 1]`."""
    if "$ref" in node:
        return "section, see below"
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return " or ".join(f"`{json.dumps(value)}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(type_words(option) for option in node["anyOf"])
    if node["type"] == "array":
        if "prefixItems" in node:
            return f"list of {len(node['prefixItems'])}: " + ", ".join(map(type_words, node["prefixItems"]))
        return f"list of {type_words(node['items'])}"
    if node["type"] == "object":
        return f"mapping of names to {type_words(node['additionalProperties'])}"
    return " ".join(filter(None, [_NAMES[node["type"]], _bounds(node)]))


_NAMES = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number", "null": "null"}


def _bounds(node: Node) -> str:
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high, below = node.get("maximum"), node.get("exclusiveMaximum")
    lower = None if low is None and above is None else f"[{low:g}" if low is not None else f"({above:g}"
    upper = None if high is None and below is None else f"{high:g}]" if high is not None else f"{below:g})"
    if lower and upper:
        return f"in {lower}, {upper}"
    if lower:
        return f"{'≥' if lower[0] == '[' else '>'} {lower[1:]}"
    return f"{'≤' if upper[-1] == ']' else '<'} {upper[:-1]}" if upper else ""


def _subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for inner in section.__subclasses__():
        yield inner
        yield from _subclasses(inner)


def _meanings(section: type[Section]) -> dict[str, str]:
    """Key to the text under it, inherited keys among them."""
    found: dict[str, str] = {}
    for part in reversed(section.__mro__):
        if issubclass(part, Section):
            found |= _texts_under_keys(part.__module__).get(part.__name__, {})
    return found


@functools.cache
def _texts_under_keys(module: str) -> dict[str, dict[str, str]]:
    """Of every class of a module: the texts that stand right under its annotated names."""
    source = inspect.getsource(importlib.import_module(module))
    return {
        part.name: {
            key.target.id: inspect.cleandoc(text.value.value)
            for key, text in itertools.pairwise(part.body)
            if isinstance(key, ast.AnnAssign)
            and isinstance(key.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for part in ast.parse(source).body
        if isinstance(part, ast.ClassDef)
    }


def _sections(section: Node, schema: Node, path: str) -> Iterator[str]:
    """The section's own keys, then each section inside it."""
    paths = {name: f"{path}.{name}".strip(".") for name in section["properties"]}
    title = f"`{path}`" if path else "Of the whole experiment"
    yield f"\n{'###' if '.' in path else '##'} {title}\n\n{_line(section['description'])}\n"
    rows = [_row(paths[name], node) for name, node in section["properties"].items() if "$ref" not in node]
    if rows:
        yield "\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows)
    for name, node in section["properties"].items():
        for reference, part in _inner(node):
            yield from _sections(schema["$defs"][reference.rpartition("/")[2]], schema, paths[name] + part)


def _row(path: str, node: Node) -> str:
    default = f"`{json.dumps(node['default'], ensure_ascii=False)}`" if "default" in node else "required"
    cells = (f"`{path}`", type_words(node), default, _line(node.get("description", "")))
    return f"| {' | '.join(cell.replace('|', ESCAPED) for cell in cells)} |\n"


def _inner(node: Node) -> Iterator[tuple[str, str]]:
    """The section that a key holds, if it does: its reference, and what follows the key in a path."""
    places = [(node, ""), *((option, "") for option in node.get("anyOf", []))]
    places += [(node.get("items", {}), "[]"), (node.get("additionalProperties", {}), ".NAME")]
    for inside, part in places:
        if "$ref" in inside:
            yield inside["$ref"], part


def _line(text: str) -> str:
    return " ".join(text.split())
