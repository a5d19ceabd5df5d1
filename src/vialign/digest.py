"""The code digest of a stage: which package code, and which data shipped with it, made an artifact.

Snakemake compares only the script of a rule, not the package behind it. Each rule therefore carries the digest of the
modules its script imports, so that a change of package code re-runs the stages that use it, and only those. Code is
read, never imported, so this costs no import of torch.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import SOURCE_SUFFIXES
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
    folder = Path(__file__).parents[1] if root is None else Path(root)
    total = hashlib.sha256()
    closure = module_closure(*modules, root=folder)
    for module in closure:
        path = _module_file(folder, module)
        assert path is not None
        total.update(f"{module} {_parse(*_identity(path)).digest}\n".encode())
    for path in _data_files(folder, closure):
        total.update(f"{path.relative_to(folder).as_posix()} {_file_digest(*_identity(path))}\n".encode())
    return total.hexdigest()


def script_digest(script: Path | str, root: Path | None = None) -> str:
    """`code_digest` of the modules of the package that a workflow script imports."""
    folder = Path(__file__).parents[1] if root is None else Path(root)
    names = _parse(*_identity(Path(script))).names
    return code_digest(*(name for name in names if _module_file(folder, name) is not None), root=folder)


def module_closure(*modules: str, root: Path | None = None) -> list[str]:
    """Names of all modules of the package that the given ones import, themselves included, sorted.

    Found in the source: imports anywhere, also inside functions; `from x import y` where y is a module; relative
    imports; the packages on the way, whose `__init__` runs too; and, of a module that calls `import_module`, strings
    that are the full name of a module, in itself and in what it imports directly: a registry. Imports under
    `if TYPE_CHECKING:` do not count, nor does the configuration: its values are digested by themselves
    (`vialign.config.sections`).
    """
    folder = Path(__file__).parents[1] if root is None else Path(root)
    found: set[str] = set()
    waiting = list(modules)
    for module in modules:
        if _module_file(folder, module) is None:
            raise ValueError(f"code_digest: there is no module {module} under {folder}")
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = _module_file(folder, module)
        if path is None or module.startswith(CONFIGURATION):
            continue
        found.add(module)
        if "." in module:
            waiting.append(module.rpartition(".")[0])
        source = _parse(*_identity(path))
        names = [_resolve(name, module, path) for name in source.names]
        waiting.extend(names)
        if source.loads:
            files = [file for name in names if (file := _module_file(folder, name)) is not None]
            waiting.extend(name for file in (path, *files) for name in _parse(*_identity(file)).named)
    return sorted(found)


class _Source:
    """What a module's source says: a digest of its syntax, what it may import, and what it names in strings."""

    def __init__(self, tree: ast.Module) -> None:
        self.names = tuple(sorted(set(_imported_names(tree))))
        self.named = tuple(sorted(set(_named_modules(tree))))
        self.loads = any(isinstance(node, ast.Name) and node.id == "import_module" for node in ast.walk(tree))
        _drop_docstrings(tree)
        _drop_meanings(tree)
        self.digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _identity(path: Path) -> tuple[Path, int, int]:
    """A file's path, time and size: the key under which what was read from it is remembered."""
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _parse(path: Path, modified: int, size: int) -> _Source:
    return _Source(ast.parse(path.read_bytes(), filename=str(path)))


@lru_cache(maxsize=4096)
def _file_digest(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Every name that an import could mean; a leading dot a level of relative import."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            joint = "" if base.endswith(".") else "."
            yield from (f"{base}{joint}{alias.name}" for alias in node.names)


def _named_modules(tree: ast.Module) -> Iterator[str]:
    """Strings that could be the full name of a module, with `:attribute` or without."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if name.startswith(f"{PACKAGE}.") and all(part.isidentifier() for part in name.split(".")):
                yield name


def _resolve(name: str, module: str, path: Path) -> str:
    """The absolute name of what `module` imports as `name`."""
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - level + 1], *filter(None, [name[level:]])])


def _module_file(folder: Path, module: str) -> Path | None:
    if module.split(".")[0] != PACKAGE:
        return None
    base = folder.joinpath(*module.split("."))
    candidates = [base / "__init__.py", *(base.with_name(base.name + suffix) for suffix in SOURCE_SUFFIXES)]
    return next((path for path in candidates if path.is_file()), None)


def _drop_docstrings(tree: ast.Module) -> None:
    """Remove strings that stand alone as a statement: docstrings, and the sentences under fields."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, [item for item in block if not _is_text(item)])


def _drop_meanings(tree: ast.Module) -> None:
    """Remove what the columns of a declared table mean: words for people, which change nothing that is computed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Table":
            for column in (keyword.value for keyword in node.keywords):
                if isinstance(column, ast.Call):
                    column.args = [argument for argument in column.args if not _is_words(argument)]


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _data_files(folder: Path, closure: list[str]) -> list[Path]:
    """Data files in the folders of the closure's packages, and in subfolders that are not packages themselves."""
    files: set[Path] = set()
    for module in closure:
        path = _module_file(folder, module)
        if path is not None:
            files.update(_own_files(path.parent))
    return sorted(files)


def _own_files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if not (path / "__init__.py").exists() and path.name != "__pycache__":
                yield from _own_files(path)
        elif path.suffix in DATA_SUFFIXES:
            yield path
