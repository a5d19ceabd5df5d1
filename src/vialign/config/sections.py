"""Which parts of the configuration a rule reads: what it declares is handed to its job, and all else is refused.

A name is a field of the configuration (`signal`) or, with dots, a part of one (`evaluation.reproduction`). Snakemake is
told of each twice: by its digest, which is a parameter of the rule, and by a small file, which is an input of it and is
written only when the section changes. So a change is seen by the digest and by modification times alone.

Where something is computed must not change what is computed, so the device is no part of a section: any rule may read
it, and a change of it runs nothing again; nor does one of the number of jobs that share a split, which no rule may
declare. Which methods and seeds a run has decides which jobs there are, not what one of them computes, so these are no
part of theirs either: one more method in a comparison trains that method alone. A rule that reads them declares each by
its own name.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from vialign.config.experiment import Config
from vialign.files.artifacts import write_text

Model = TypeVar("Model", bound=BaseModel)
STAMPS = "config"
"""The folder of the files, inside the results."""
WHERE = "backbone.device"
"""What says where and not what: left out of its section, and free to every rule."""
WHO = ("training.methods", "training.seeds", "training.compare", "training.compare_seeds")
"""What says which jobs there are: left out of their section, and declared by name."""
SPREAD = "shards"
"""What says how many jobs share a split: the plan of a run reads it, and no rule does."""
EVERYTHING = (*(name for name in Config.model_fields if name != SPREAD), *WHO)
"""What a rule declares that reads the whole configuration."""


def section_text(tree: Mapping[str, Any], name: str) -> str:
    """One section of a dumped configuration as JSON, its keys in order.

    Raises ValueError when the configuration has no such section.
    """
    part: Any = tree
    for key in name.split("."):
        if not isinstance(part, Mapping) or key not in part:
            raise ValueError(f"the configuration has no section `{name}`")
        part = part[key]
    left = {field for section, _, field in (key.rpartition(".") for key in (WHERE, *WHO)) if section == name}
    if left:
        part = {key: value for key, value in part.items() if key not in left}
    return json.dumps(part, sort_keys=True, indent=1) + "\n"


def section_digests(tree: Mapping[str, Any], *names: str) -> dict[str, str]:
    """sha256 of each named section of a dumped configuration. Raises ValueError when it has no such section."""
    return {name: hashlib.sha256(section_text(tree, name).encode()).hexdigest() for name in sorted(set(names))}


def stamp_path(folder: Path | str, name: str) -> str:
    """The file that stands for one section in a results folder."""
    return f"{folder}/{STAMPS}/{name}.json"


def write_stamp(tree: Mapping[str, Any], name: str, path: Path | str) -> bool:
    """Write the file of one section where it does not say the same already; whether it was written."""
    if same_stamp(tree, name, path):
        return False
    write_text(section_text(tree, name), path)
    return True


def same_stamp(tree: Mapping[str, Any], name: str, path: Path | str) -> bool:
    """Whether the file at `path` says of the section what the configuration says."""
    file = Path(path)
    return file.is_file() and file.read_bytes() == section_text(tree, name).encode()


class UndeclaredSection(RuntimeError):
    """A job read a section of the configuration that its rule does not declare: a bug of the workflow."""


class Reads:
    """The guard of one rule: what it may read, and what of that was read."""

    def __init__(self, rule: str, names: Iterable[str]) -> None:
        self.rule = rule
        self.declared = frozenset(names)
        self.names = {part: name for name in self.declared for part in _parts(name)}
        """What may be read, each with the declared name that allows it."""
        self.seen: set[str] = set()

    def check(self, name: str) -> None:
        """Raises UndeclaredSection where nothing of `name` is declared."""
        if name in self.names:
            self.seen.add(self.names[name])
        elif name != WHERE and not self.some(name):
            raise UndeclaredSection(
                f"rule {self.rule} read `{name}` of the configuration without declaring it, so a change of it would "
                f'not run the rule again; add "{name}" to section(...) of that rule in workflow/rules'
            )

    def some(self, name: str) -> bool:
        """Whether a part of `name` may be read."""
        return any(free.startswith(f"{name}.") for free in {*self.names, WHERE})


def _parts(name: str) -> list[str]:
    """A section by itself; one that something is left out of, by all its other fields."""
    left = {key for key in WHO if key.rpartition(".")[0] == name}
    if not left:
        return [name]
    section = cast("type[BaseModel]", Config.model_fields[name].annotation)
    return [part for part in (f"{name}.{field}" for field in section.model_fields) if part not in left]


def guarded(config: Config, reads: Reads) -> Config:
    """The configuration with its declared sections, and the device, alone: reading another raises UndeclaredSection.

    It is a Config to whoever takes one, with its properties and `model_copy`. A rule that declares every section gets
    the configuration itself.
    """
    if reads.declared >= set(EVERYTHING):
        reads.seen |= reads.declared
        return config
    return _guarded(config, reads, "")


def dump_declared(config: Config) -> dict[str, Any]:
    """A configuration, guarded or not, as JSON values that `load_declared` reads."""
    reads: Reads | None = getattr(type(config), "guard", None)
    if reads is None:
        return {"values": config.model_dump(mode="json")}
    return {"values": _plain(config), "rule": reads.rule, "names": sorted(reads.declared)}


def load_declared(dumped: dict[str, Any]) -> Config:
    """What `dump_declared` wrote, in another process, with the same guard."""
    config = Config.model_validate(dumped["values"])
    return guarded(config, Reads(dumped["rule"], dumped["names"])) if "rule" in dumped else config


def _guarded(model: Model, reads: Reads, at: str) -> Model:
    kept = {}
    for field in type(model).model_fields:
        value = getattr(model, field)
        if f"{at}{field}" in reads.names or f"{at}{field}" == WHERE:
            kept[field] = value
        elif reads.some(f"{at}{field}"):
            kept[field] = _guarded(value, reads, f"{at}{field}.")
    kind = _kind(type(model), reads, at)
    view = cast(Model, object.__new__(kind))
    # What pydantic keeps of a model; made without its own constructor, which would put defaults in the places left out.
    state = {"__dict__": kept, "__pydantic_fields_set__": set(kept)}
    for name, value in {**state, "__pydantic_extra__": None, "__pydantic_private__": None}.items():
        object.__setattr__(view, name, value)
    return view


@lru_cache(maxsize=256)
def _kind(base: type[Model], reads: Reads, at: str) -> type[Model]:
    """A subclass whose fields are asked of the guard."""
    fields = frozenset(base.model_fields)

    def read(self: Model, name: str) -> Any:
        if name in fields:
            reads.check(f"{at}{name}")
        return object.__getattribute__(self, name)

    namespace = {
        "__module__": base.__module__,
        "__annotations__": {"guard": ClassVar[Reads]},
        "__getattribute__": read,
        "guard": reads,
        "model_config": {"defer_build": True},
    }
    made: Any = type(base)
    return cast("type[Model]", made(base.__name__, (base,), namespace))


def _plain(view: BaseModel) -> dict[str, Any]:
    """The values of a guarded configuration, in nested mappings."""
    values = {}
    for name, value in view.__dict__.items():
        inner = isinstance(value, BaseModel) and hasattr(type(value), "guard")
        values[name] = _plain(value) if inner else to_jsonable_python(value)
    return values
