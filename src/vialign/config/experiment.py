"""The typed configuration: every default lives here once, every unknown key is an error.

`config.yaml` and the overlays in `configs/` state the science of an experiment; this module checks them, fills in
the defaults and gives each stage its own small section. `python -m vialign.config.experiment` prints the JSON schema.
"""

import difflib
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from vialign.config.data import BackboneConfig, DataConfig, FeaturesConfig, LanguageConfig
from vialign.config.disentangle import TextConfig, VisualConfig
from vialign.config.evaluation import (
    AttributionConfig,
    EvaluationConfig,
    FailureConfig,
    GradientConfig,
    ReportConfig,
    UsesConfig,
)
from vialign.config.gates import GatesConfig
from vialign.config.methods import BaselinesConfig, BudgetConfig, CurriculumConfig, TrainingConfig
from vialign.config.section import Name, Section
from vialign.config.signal import SignalConfig
from vialign.errors import UserError
from vialign.files.text import read_yaml
from vialign.names import DATASETS, tested_splits


class Config(Section):
    """One experiment."""

    name: Name = "scenes"
    """Of the experiment, in a word."""
    title: str = "Scenes, the embedded world"
    """Of the report."""
    results: Name = "results"
    """Folder that everything is written to."""
    seed: int = 0
    """From which every random draw of the run follows."""
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    """Jobs that share a split in the stages that a cluster can spread over many nodes (docs/cluster.md). It says where
    and not what: results are the same."""
    data: DataConfig = DataConfig()
    backbone: BackboneConfig = BackboneConfig()
    language: LanguageConfig = LanguageConfig()
    features: FeaturesConfig = FeaturesConfig()
    visual: VisualConfig = VisualConfig()
    text: TextConfig = TextConfig()
    signal: SignalConfig = SignalConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    training: TrainingConfig = TrainingConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    budget: BudgetConfig = BudgetConfig()
    gates: GatesConfig = GatesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    attribution: AttributionConfig = AttributionConfig()
    uses: UsesConfig = UsesConfig()
    analysis: FailureConfig = FailureConfig()
    gradients: GradientConfig = GradientConfig()
    report: ReportConfig = ReportConfig()

    @property
    def test_splits(self) -> tuple[str, ...]:
        """Every split that finished methods are evaluated on: those of the data set, then the benchmarks' own."""
        return (*self.evaluation.splits, *self.data.benchmarks)

    @property
    def headline_splits(self) -> tuple[str, ...]:
        """Those that the answer of the report is about: the data set's first test split, and the benchmarks' own."""
        return (self.evaluation.splits[0], *self.data.benchmarks)

    @model_validator(mode="after")
    def early_before_end(self) -> "Config":
        """The early check must lie inside the training."""
        if self.training.early_steps > self.training.steps:
            raise ValueError("training.early_steps must not exceed training.steps")
        return self


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_NO_VARIABLE = re.compile(r"\$\{[^}]*\}?|^\$\w+(?=/|$)")
"""What looks like a variable and would be the name of a folder."""
_MEANT = {
    "model_type": "must be a section of keys and values",
    "dict_type": "must be a section of keys and values",
    "tuple_type": "must be a list, such as [a, b]",
    "too_short": "must have at least one item",
    "string_too_short": "must not be empty",
    "string_type": "must be text; what YAML takes for a number, a date, yes or no stands in quotes",
    "invalid_key": "is no name of a key; what YAML takes for a number, yes or no stands in quotes",
}
"""In the words of YAML, what pydantic says in those of Python."""


def expand_variables(text: str) -> str:
    """Replace `${NAME}` and `${NAME:-default}` from the environment, and `~/` in front by the home folder.

    An empty variable counts as one that is not set, as a shell takes it: `${NAME}/coco` would be `/coco`. Raises
    UserError when a variable without default is not set, or is written otherwise.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if os.environ.get(name):
            return os.environ[name]
        if default is None:
            said = "is empty" if name in os.environ else "is not set"
            raise UserError(f"config: environment variable {name} {said}; set it to the folder it stands for")
        return default

    odd = _NO_VARIABLE.search(_VARIABLE.sub("", text))
    if odd is not None:
        raise UserError(f"config: {odd[0]!r} in {text!r} is no variable; write ${{NAME}} or ${{NAME:-default}}")
    found = _VARIABLE.sub(value, text)
    return os.path.expanduser(found) if found.startswith("~/") else found


_MOST = 100_000
"""Values that a configuration holds at most. Aliases of aliases in a short file can make of it more than fit."""


def _expand(node: Any, seen: Iterator[int]) -> Any:
    if next(seen) > _MOST:
        raise UserError(f"config: holds more than {_MOST:,} values through YAML aliases (`*name`); write it out")
    if isinstance(node, str):
        return expand_variables(node)
    if isinstance(node, Mapping):
        return {key: _expand(value, seen) for key, value in node.items()}
    if isinstance(node, list):
        return [_expand(value, seen) for value in node]
    return node


def load_config(mapping: Mapping[str, Any]) -> Config:
    """Check a configuration mapping and fill in the defaults.

    Raises UserError with one line a wrong key or name: its dotted path, what is wrong with it and what there is.
    """
    from vialign.config.checks import beyond, illegible, problems, truths

    try:
        config = _own_splits(Config.model_validate(_expand(mapping, itertools.count())))
    except RecursionError:
        raise UserError("config: a section holds itself through a YAML alias (`*name`); write it out") from None
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"config: unknown key `{key}`; {_meant(problem['loc'])}remove it or check its spelling")
            else:
                said = _MEANT.get(problem["type"], problem["msg"])
                lines.append(f"config: `{key or 'config'}`: {said} (got {problem['input']!r})"[:300])
        raise UserError("\n".join(lines)) from None
    plain = config.model_dump()
    wrong = [*truths(mapping, config), *beyond(plain), *illegible(plain), *problems(config)]
    if wrong:
        raise UserError("\n".join(wrong))
    return config


def _meant(place: tuple[int | str, ...]) -> str:
    """The nearest key of the section in which an unknown one stands."""
    section: Any = Config
    for part in place[:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        section = field.annotation if field is not None else None
    close = difflib.get_close_matches(str(place[-1]), getattr(section, "model_fields", {}), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`? " if close else ""


def _own_splits(config: Config) -> Config:
    """With the test splits of its own data set, where none are given."""
    if "splits" in config.evaluation.model_fields_set or config.data.dataset not in DATASETS:
        return config
    splits = {"splits": tested_splits(config.data.dataset)}
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update=splits)})


def read_config(*paths: str | Path) -> Config:
    """Read YAML files, later ones over earlier ones, key by key; the result is checked.

    Raises UserError as `load_config`, with the files named.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, read_layer(path))
    try:
        return load_config(merged)
    except UserError as error:
        named = f"config: {', '.join(map(str, paths))}: "
        raise UserError(re.sub("^config: ", lambda _: named, str(error), flags=re.MULTILINE)) from None


def read_layer(path: str | Path) -> dict[str, Any]:
    """One YAML file as it stands. Raises UserError where it is none, or a key stands twice in it."""
    found = read_yaml(path)
    layer = {} if found is None else found
    if not isinstance(layer, dict):
        raise UserError(f"config: {path}: the top level must be a mapping of sections")
    return layer


def _merge(base: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def digest(config: BaseModel) -> str:
    """sha256 of a configuration or one of its sections, independent of key order."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
