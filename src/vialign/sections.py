"""Which parts of the configuration a rule reads: what it declares is handed to its job, and all else is a wall.

A name is a field of the configuration (`signal`) or, with dots, a part of one (`evaluation.calibration`). Snakemake is
told of each twice: by its digest, which is a parameter of the rule, and by a small file, which is an input of it and is
written only when the section changes. So a change is seen by the digest and by modification times alone.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from vialign.artifacts import write_text
from vialign.config import Config

STAMPS = "config"
"""The folder of the files, inside the results."""


def section_text(config: Config, name: str) -> str:
    """One section as JSON, its keys in order. Raises ValueError when the configuration has no such section."""
    return json.dumps(_value(config.model_dump(mode="json"), name), sort_keys=True, indent=1) + "\n"


def section_digests(config: Config, *names: str) -> dict[str, str]:
    """sha256 of each named section. Raises ValueError when the configuration has no such section."""
    return {name: hashlib.sha256(section_text(config, name).encode()).hexdigest() for name in sorted(names)}


def stamp_path(folder: Path | str, name: str) -> str:
    """The file that stands for one section in a results folder."""
    return f"{folder}/{STAMPS}/{name}.json"


def write_stamp(config: Config, name: str, path: Path | str) -> bool:
    """Write the file of one section where it does not say the same already; whether it was written."""
    if same_stamp(config, name, path):
        return False
    write_text(section_text(config, name), path)
    return True


def same_stamp(config: Config, name: str, path: Path | str) -> bool:
    """Whether the file at `path` says of the section what the configuration says."""
    file = Path(path)
    return file.is_file() and file.read_bytes() == section_text(config, name).encode()


def _value(tree: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(tree, dict) or part not in tree:
            raise ValueError(f"the configuration has no section `{name}`")
        tree = tree[part]
    return tree
