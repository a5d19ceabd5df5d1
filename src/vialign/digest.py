"""The code digest of a stage: which package code, and which data shipped with it, made an artifact.

Snakemake compares only the script of a rule, not the package behind it. Each rule therefore carries the digest of the
modules its script imports, so that a change of package code re-runs the stages that use it, and only those. Code is
read, never imported, so this costs no import of torch.
"""

import ast
import gzip
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "vialign"
CONFIGURATION = f"{PACKAGE}.config"
"""The package whose values decide, and not its code."""

DATA_SUFFIXES = (".json", ".txt", ".csv", ".j2", ".css", ".js", ".gz", ".safetensors")
"""Files shipped with the package that decide what a stage computes."""


def code_digest(*modules: str, root: Path | None = None) -> str:
    """sha256 over everything of the package that the named modules need, directly or through others.

    `modules` are dotted names such as `vialign.signal.pairs`; a package stands for its `__init__`. The digest covers
    the syntax trees (without docstrings, comments, layout and the meanings of a table's columns) of the closure and the
    data files in its packages' folders. `root` is the folder that holds the package (default: that of this one).
    Raises ValueError when a module does not exist.
    """
    digest = _digest(modules, _look(root))
    _keep()
    return digest


def script_digests(scripts: Iterable[Path], root: Path | None = None) -> dict[str, str]:
    """By the name of each workflow script, `code_digest` of the modules of the package that it imports.

    The package is looked through once for all of them.
    """
    package, digests = _look(root), {}
    for script in scripts:
        names = _parse(*_identity(os.stat(script), str(script))).names
        digests[script.stem] = _digest([name for name in names if name in package.modules], package)
    _keep()
    return digests


def module_closure(*modules: str, root: Path | None = None) -> list[str]:
    """Names of all modules of the package that the given ones import, themselves included, sorted.

    Found in the source: imports anywhere, also inside functions; `from x import y` where y is a module; relative
    imports; the packages on the way, whose `__init__` runs too; and, of a module that calls `import_module`, strings
    that are the full name of a module, in itself and in what it imports directly: a registry. Imports under
    `if TYPE_CHECKING:` do not count, nor does the configuration: its values are digested by themselves
    (`vialign.config.sections`).
    """
    return _closure(modules, _look(root))


Identity = tuple[str, int, int]
"""A file's path, time and size: the key under which what was read from it is remembered."""


@dataclass
class _Package:
    """The files of the package as they lie there now, each with its identity; one look, since every stat counts."""

    root: str
    modules: dict[str, Identity] = field(default_factory=dict)
    """By the module's dotted name; a package stands for its `__init__`."""
    data: dict[str, dict[str, Identity]] = field(default_factory=dict)
    """By the folder of the package that they belong to, then by their path under the root."""


def _look(root: Path | None) -> _Package:
    package = _Package(str(Path(__file__).parents[1] if root is None else root))
    _look_into(os.path.join(package.root, PACKAGE), PACKAGE, "", package)
    return package


def _look_into(folder: str, name: str, owner: str, package: _Package) -> None:
    """Add what lies in a folder. Data files of a folder that is no package belong to the one above, its `owner`."""
    with os.scandir(folder) as found:
        entries = list(found)
    if not owner or any(entry.name == "__init__.py" for entry in entries):
        owner = folder
    for entry in entries:
        stem, suffix = os.path.splitext(entry.name)
        if entry.is_dir():
            if entry.name != "__pycache__":
                _look_into(entry.path, f"{name}.{entry.name}", owner, package)
        elif suffix == ".py":
            package.modules[name if stem == "__init__" else f"{name}.{stem}"] = _identity(entry.stat(), entry.path)
        elif suffix in DATA_SUFFIXES:
            relative = os.path.relpath(entry.path, package.root).replace(os.sep, "/")
            package.data.setdefault(owner, {})[relative] = _identity(entry.stat(), entry.path)


def _digest(modules: Iterable[str], package: _Package) -> str:
    total = hashlib.sha256()
    closure = _closure(modules, package)
    for module in closure:
        total.update(f"{module} {_parse(*package.modules[module]).digest}\n".encode())
    folders = {os.path.dirname(package.modules[module][0]) for module in closure}
    for name, identity in sorted(item for folder in folders for item in package.data.get(folder, {}).items()):
        total.update(f"{name} {_file_digest(*identity)}\n".encode())
    return total.hexdigest()


def _closure(modules: Iterable[str], package: _Package) -> list[str]:
    waiting, found = list(modules), set[str]()
    for module in waiting:
        if module not in package.modules:
            raise ValueError(f"code_digest: there is no module {module} under {package.root}")
    while waiting:
        module = waiting.pop()
        if module in found or module not in package.modules or module.startswith(CONFIGURATION):
            continue
        found.add(module)
        if "." in module:
            waiting.append(module.rpartition(".")[0])
        source = _parse(*package.modules[module])
        is_package = os.path.basename(package.modules[module][0]) == "__init__.py"
        names = [_resolve(name, module, is_package) for name in source.names]
        waiting.extend(names)
        if source.loads:
            for name in (module, *(name for name in names if name in package.modules)):
                waiting.extend(_parse(*package.modules[name]).named)
    return sorted(found)


class _Source(NamedTuple):
    """What a module's source says."""

    digest: str
    """Of its syntax."""
    names: tuple[str, ...]
    """What of the package it may import."""
    named: tuple[str, ...]
    """Strings that could be the full name of a module, with `:attribute` or without."""
    loads: bool
    """Whether it imports by name."""


class _Reading:
    """One walk through a syntax tree for all of that, since this is most of what planning a run takes."""

    def __init__(self, tree: ast.Module) -> None:
        imported: set[str] = set()
        self.loads = False
        self._named: set[str] = set()
        self._words: list[str] = []
        self._read(tree, imported)
        words = "\n".join(self._words).encode("utf-8", "surrogatepass")
        names = sorted(name for name in imported if name.split(".")[0] in ("", PACKAGE))
        self.source = _Source(hashlib.sha256(words).hexdigest(), tuple(names), tuple(sorted(self._named)), self.loads)

    def _read(self, node: Any, imported: set[str]) -> None:
        """Write down a node's kind and fields and those below it, and what an import could mean.

        Left out are strings that stand alone as a statement: docstrings, and the sentences under fields; and what the
        columns of a declared table mean: words for people, which change nothing that is computed. In what is imported,
        a leading dot stands for a level of relative import.
        """
        kind = type(node)
        if kind is ast.Constant:
            self._words.append(f"Constant {node.value!r}")
            if isinstance(node.value, str) and node.value.startswith(f"{PACKAGE}."):
                name = node.value.partition(":")[0]
                if all(part.isidentifier() for part in name.split(".")):
                    self._named.add(name)
            return
        typing_only = False
        if kind is ast.Import:
            imported.update(alias.name for alias in node.names)
        elif kind is ast.ImportFrom:
            base = "." * node.level + (node.module or "")
            joint = "" if base.endswith(".") else "."
            imported.update([base, *(f"{base}{joint}{alias.name}" for alias in node.names)])
        elif kind is ast.Name and node.id == "import_module":
            self.loads = True
        elif kind is ast.If:
            typing_only = "TYPE_CHECKING" in ast.dump(node.test)
        elif kind is ast.Call:
            _drop_meanings(node)
        self._words.append(kind.__name__)
        for name in kind._fields:
            value = getattr(node, name)
            if type(value) is list:
                self._words.append("[")
                for item in value:
                    if not isinstance(item, ast.AST):
                        self._words.append(repr(item))
                    elif not _is_text(item):
                        self._read(item, set() if typing_only and name == "body" else imported)
                self._words.append("]")
            elif isinstance(value, ast.AST):
                self._read(value, imported)
            else:
                self._words.append(repr(value))


def _identity(status: os.stat_result, path: str) -> Identity:
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _parse(path: str, modified: int, size: int) -> _Source:
    """What a file says; read off its syntax once, and kept by its contents beside what Python compiled of this one."""
    content = Path(path).read_bytes()
    key, known = hashlib.sha256(content).hexdigest(), _known()
    if key not in known:
        known[key] = _Reading(ast.parse(content, filename=path)).source
        _unsaved.add(key)
    return known[key]


_unsaved = set[str]()
"""Keys of what was read in this process and is not in the file yet."""
MOST_KEPT = 4000
"""Sources in the file, after which it begins anew."""


@cache
def _kept_in() -> Path | None:
    """The file; its name holds the contents of this one, which decides what is read off. None where nothing is kept."""
    if sys.dont_write_bytecode:
        return None
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return Path(__file__).parent / "__pycache__" / f"digests-{own}.json.gz"


@cache
def _known() -> dict[str, _Source]:
    place = _kept_in()
    with suppress(OSError, EOFError, ValueError, TypeError, zlib.error):
        if place is not None:
            kept = json.loads(gzip.decompress(place.read_bytes()))
            return {
                key: _Source(digest, tuple(names), tuple(named), loads) for key, (digest, names, named, loads) in kept
            }
    return {}


def _keep() -> None:
    """Write down what was read for the first time. A folder that cannot be written keeps nothing, which only takes
    longer.
    """
    place, known = _kept_in(), _known()
    if place is None or not _unsaved:
        return
    if len(known) > MOST_KEPT:
        known = {key: known[key] for key in _unsaved}
    part = place.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        part.write_bytes(gzip.compress(json.dumps(list(known.items())).encode(), mtime=0))
        part.replace(place)
    _unsaved.clear()


@lru_cache(maxsize=4096)
def _file_digest(path: str, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve(name: str, module: str, is_package: bool) -> str:
    """The absolute name of what `module` imports as `name`."""
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    package = module if is_package else module.rpartition(".")[0]
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - level + 1], *filter(None, [name[level:]])])


def _drop_meanings(node: ast.Call) -> None:
    """Remove what the columns of a declared table mean, where the call declares one."""
    if isinstance(node.func, ast.Name) and node.func.id == "Table":
        for column in (keyword.value for keyword in node.keywords):
            if isinstance(column, ast.Call):
                column.args = [argument for argument in column.args if not _is_words(argument)]


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
