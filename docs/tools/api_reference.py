"""Writes docs/api.md from the docstrings of what `import vialign` and its packages for users give.

`python docs/tools/api_reference.py > docs/api.md`; a test holds the page against the code.
"""

import inspect
import re
from importlib import import_module

MODULES = {
    "vialign": ("load", "wrap", "Aligner"),
    "vialign.aligner": ("Ranking", "Trust"),
    "vialign.collection.searching": ("Collection", "Answer", "Hit"),
    "vialign.toolkit": (),
    "vialign.estimators": (),
}
"""Where to look, and for what; nothing said: everything that the module lists."""
_HEAD = """# Reference of the Python interface

<!-- made by `python docs/tools/api_reference.py`; `make examples` writes it anew -->

Made from the docstrings. What is not here is the inside of the package, and may change.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for module, names in MODULES.items():
        found = import_module(module)
        parts.append(f"## {module}\n")
        parts += [_entry(getattr(found, name), name) for name in names or found.__all__]
    return "\n".join(parts).rstrip() + "\n"


def _entry(thing: object, name: str) -> str:
    lines = [f"### {name}\n", *_told(thing, name)]
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            if method.startswith("_") or not (inspect.isfunction(value) or isinstance(value, classmethod | property)):
                continue
            inner = value.fget if isinstance(value, property) else getattr(thing, method)
            lines += [f"#### {name}.{method}\n", *_told(inner, method, isinstance(value, property))]
    return "\n".join(lines)


def _told(thing: object, name: str, value: bool = False) -> list[str]:
    """Signature and docstring."""
    signature = "" if value else f"```python\n{name}{_signature(thing)}\n```\n"
    words = inspect.getdoc(thing) or ""
    prose, _, example = words.partition("\n>>> ")
    # Paragraphs on one line each; a tick in a docstring is one here too.
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", prose) if part.strip()]
    shown = [f"```python\n>>> {example.strip()}\n```\n"] if example else []
    return [signature, *(f"{part}\n" for part in paragraphs), *shown]


def _signature(thing: object) -> str:
    """As a caller writes it: without the first argument of a method, types as they stand in the code."""
    signature = inspect.signature(thing)  # type: ignore[arg-type]
    own = [value for name, value in signature.parameters.items() if name not in ("self", "cls")]
    said, named = [], False
    for parameter in own:
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            said.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        said.append(f"{parameter.name}: {_type(parameter.annotation)}{default}")
    result = "" if inspect.isclass(thing) else f" -> {_type(signature.return_annotation)}"
    return f"({', '.join(said)}){result}"


def _type(annotation: object) -> str:
    """A type without the modules that its parts come from."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"Float\[(?:Tensor|ndarray), '?\"?([^\]'\"]*)'?\"?\]", r"Tensor (\1)", text)
    return re.sub(r"(?<![\w.])(?:[a-z_]\w*\.)+(?=[A-Z])", "", text).replace("'", "").replace('"', "")


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
