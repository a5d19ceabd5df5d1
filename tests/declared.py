"""What the rules declare of the configuration, what their jobs read of it, and how to change one key of it."""

import copy
import re
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, ResourceSettings


def declared_sections(root: Path, folder: Path) -> dict[str, set[str]]:
    """The sections that every rule with a script declares, from the parsed workflow of the repository `root`."""
    with SnakemakeApi() as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[root / "configs/tiny.yaml"]),
            snakefile=root / "Snakefile",
            workdir=folder,
        )
        rules = workflow._workflow.rules
        return {rule.name: set(rule.params.get("config") or ()) for rule in rules if rule.script}


def read_sections(folder: Path) -> dict[str, set[str]]:
    """The sections that the jobs of every rule read, as their logs say."""
    found: dict[str, set[str]] = {}
    for log in folder.glob("results/logs/**/*.log"):
        said = re.search(r"^(\w+): read of the configuration: (.*)$", log.read_text(encoding="utf-8"), re.MULTILINE)
        assert said is not None, log
        found.setdefault(said[1], set()).update(set(said[2].split(", ")) - {"nothing"})
    return found


def leaves(tree: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path to every key of a dumped configuration that holds no further keys."""
    found = []
    for key, value in tree.items():
        found += leaves(value, (*at, key)) if isinstance(value, dict) and value else [(*at, key)]
    return found


def with_another(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy with another value of the same type at `path`."""
    changed = copy.deepcopy(tree)
    place = changed
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, int | float):
        new = old + 1
    elif isinstance(old, str):
        new = f"{old}-other"
    elif isinstance(old, list):
        new = [*old, *(old[:1] or ["other"])]
    else:
        new = {"other": {}} if isinstance(old, dict) else "other"
    place[path[-1]] = new
    return changed
