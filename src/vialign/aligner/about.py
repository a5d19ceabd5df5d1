"""`config.json` of an exported folder: what it is, what it was made with, and what was measured of it."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vialign import __version__
from vialign.aligner.ranking import TrustRule
from vialign.catalogue import METHODS
from vialign.config.experiment import Config, load_config
from vialign.errors import UserError
from vialign.files.artifacts import write_text
from vialign.files.text import read_json

CONFIG = "config.json"
FORMAT: Literal[1] = 1
"""Changes when a folder of before can no longer be read."""
SECTIONS = ("seed", "visual", "text", "signal", "curriculum", "training", "baselines", "budget")
"""What of a configuration decides how a method is built; the rest names places on one machine."""


class Reference(BaseModel):
    """Where the backbone comes from. Names of files are relative to the folder."""

    model_config = ConfigDict(extra="forbid")

    architecture: str
    definition: str | None = None
    """open_clip JSON, or for BLIP a folder."""
    tokenizer: str | None = None
    """Folder with a tokenizer.json, where the architecture needs one."""
    weights: str | None = None
    """File in the folder; none where the weights are only referred to."""
    checkpoint: str | None = None
    """What the weights were called where the folder was made: `package`, an open_clip tag, or the name of a file."""
    seed: int = 0
    """Of random weights."""


class Measured(BaseModel):
    """One number of the model card."""

    model_config = ConfigDict(extra="forbid")

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    frozen: float | None = None
    """The same of the frozen backbone."""
    count: int
    """Items."""
    seeds: int


class Cost(BaseModel):
    """One line of the ledger."""

    model_config = ConfigDict(extra="forbid")

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str
    backbone: str
    """Of which the cost was measured."""


class About(BaseModel):
    """Everything that `config.json` says."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT
    vialign: str = __version__
    """Version that wrote the folder."""
    name: str = ""
    """Of the experiment."""
    method: str
    seed: int = 0
    """Of the training."""
    backbone: Reference
    contract: dict[str, str]
    """Of the backbone: what must be the same for the numbers to be the same."""
    tensors: str
    """Digest of the backbone's tensors, whatever file they lie in."""
    config: dict[str, Any] = {}
    """`SECTIONS` of the configuration."""
    trust: TrustRule | None = None
    measured: list[Measured] = []
    costs: list[Cost] = []
    gates: dict[str, str] = {}
    """Verdict of each gate of the run."""
    changed: bool = False
    """Whether the weights were trained on after the run: what was measured of those before is then left out."""

    def without_numbers(self) -> "About":
        """What is still true of a method whose weights were trained on: nothing that was measured, cost or trust."""
        changed = self.changed or bool(self.name or self.trust or self.measured or self.costs)
        return self.model_copy(update={"trust": None, "measured": [], "costs": [], "changed": changed})

    def settings(self) -> Config:
        """The configuration that the method is built with, everything else at its default."""
        return load_config(self.config)


def config_sections(config: Config) -> dict[str, Any]:
    """`SECTIONS` of a configuration, as plain values."""
    dumped: dict[str, Any] = config.model_dump(mode="json", include=set(SECTIONS))
    return dumped


def write_about(about: About, folder: Path) -> None:
    """Write `config.json`."""
    write_text(json.dumps(about.model_dump(mode="json"), indent=1) + "\n", folder / CONFIG)


def read_about(folder: str | Path) -> About:
    """What `config.json` of a folder says. Raises UserError where it is missing, or is of another kind or version."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: no exported folder: it has no {CONFIG}; make one with `vialign export`")
    said = read_json(path, mend="export it again")
    if not isinstance(said, dict) or "contract" not in said or "method" not in said:
        raise UserError(f"{path}: not the {CONFIG} of an exported folder; make one with `vialign export`")
    if said.get("format") != FORMAT:
        raise UserError(f"{path}: has format {said.get('format')!r}, this vialign reads {FORMAT}; export it again")
    try:
        about = About.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: `{place}`: {first['msg'].lower()}; export it again") from error
    if about.method not in METHODS:
        raise UserError(f"{path}: `method`: {about.method!r} is no method of this vialign; update it, or export again")
    return about
