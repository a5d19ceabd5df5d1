"""The code digest of a stage: which package code, and which data shipped with it, made an artifact.

Snakemake compares only the script of a rule, not the package behind it. Each rule therefore carries the digest of the
modules its script imports, so that a change of package code re-runs the stages that use it, and only those. Code is
read, never imported, so this costs no import of torch.
"""

import ast
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

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
    package = _look(root)
    total = hashlib.sha256()
    closure = _closure(modules, package)
    for module in closure:
        total.update(f"{module} {_parse(*package.modules[module]).digest}\n".encode())
    folders = {os.path.dirname(package.modules[module][0]) for module in closure}
    for name, identity in sorted(item for folder in folders for item in package.data.get(folder, {}).items()):
        total.update(f"{name} {_file_digest(*identity)}\n".encode())
    return total.hexdigest()


def script_digest(script: Path | str, root: Path | None = None) -> str:
    """`code_digest` of the modules of the package that a workflow script imports."""
    names, modules = _parse(*_identity(os.stat(script), str(script))).names, _look(root).modules
    return code_digest(*(name for name in names if name in modules), root=root)


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


class _Source:
    """What a module's source says: a digest of its syntax, what of the package it may import, and what it names.

    One walk for all, since this is most of what a call of Snakemake does before its first job.
    """

    def __init__(self, tree: ast.Module) -> None:
        imported: set[str] = set()
        self.loads = False
        """Whether it imports by name."""
        self._named: set[str] = set()
        self._words: list[str] = []
        self._read(tree, imported)
        self.names = tuple(sorted(name for name in imported if name.split(".")[0] in ("", PACKAGE)))
        self.named = tuple(sorted(self._named))
        """Strings that could be the full name of a module, with `:attribute` or without."""
        self.digest = hashlib.sha256("\n".join(self._words).encode("utf-8", "surrogatepass")).hexdigest()

    def _read(self, node: ast.AST, imported: set[str]) -> None:
        """Write down a node's kind and fields and those below it, and what an import could mean.

        Left out are strings that stand alone as a statement: docstrings, and the sentences under fields; and what the
        columns of a declared table mean: words for people, which change nothing that is computed. In what is imported,
        a leading dot stands for a level of relative import.
        """
        if isinstance(node, ast.Constant):
            self._words.append(f"Constant {node.value!r}")
            if isinstance(node.value, str) and node.value.startswith(f"{PACKAGE}."):
                name = node.value.partition(":")[0]
                if all(part.isidentifier() for part in name.split(".")):
                    self._named.add(name)
            return
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            joint = "" if base.endswith(".") else "."
            imported.update([base, *(f"{base}{joint}{alias.name}" for alias in node.names)])
        elif isinstance(node, ast.Name) and node.id == "import_module":
            self.loads = True
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        _drop_meanings(node)
        self._words.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name)
            if isinstance(value, ast.AST):
                self._read(value, imported)
            elif isinstance(value, list):
                self._words.append("[")
                for item in value:
                    if not isinstance(item, ast.AST):
                        self._words.append(repr(item))
                    elif not _is_text(item):
                        self._read(item, set() if typing_only and name == "body" else imported)
                self._words.append("]")
            else:
                self._words.append(repr(value))


def _identity(status: os.stat_result, path: str) -> Identity:
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _parse(path: str, modified: int, size: int) -> _Source:
    return _Source(ast.parse(Path(path).read_bytes(), filename=path))


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


def _drop_meanings(node: ast.AST) -> None:
    """Remove what the columns of a declared table mean, where the node declares one."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Table":
        for column in (keyword.value for keyword in node.keywords):
            if isinstance(column, ast.Call):
                column.args = [argument for argument in column.args if not _is_words(argument)]


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
